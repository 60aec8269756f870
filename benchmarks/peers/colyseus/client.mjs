// One client of the Colyseus server, by its own SDK: round trips (w2), a flood of events (w3).
import { Client } from "@colyseus/sdk";
import { cpuShare, option, percentiles, say } from "./game.mjs";

const FLOOD_LIMIT_BYTES = 256 * 1024, BATCH = 512;
const workload = process.argv[2];
const room = await new Client(`ws://127.0.0.1:${option("port")}`).joinOrCreate("game");
room.onStateChange(() => {});
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

if (workload === "w2") {
  let answered;
  room.onMessage("ECHOED", () => answered());
  const times = [];
  for (let number = 0; number < Number(option("count", 500)); number++) {
    const begun = performance.now();
    await new Promise((resolve) => {
      answered = resolve;
      room.send("ECHO", number);
    });
    times.push(performance.now() - begun);
    await sleep(2);
  }
  say({ phase: "done", round_trip_ms: percentiles(times) });
} else if (workload === "w3") {
  const data = new Uint8Array(32), socket = room.connection.transport.ws;
  const flood = async (seconds) => {
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      for (let i = 0; i < BATCH && socket.bufferedAmount < FLOOD_LIMIT_BYTES; i++) room.send("E", data);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  await flood(Number(option("settle", 1)));
  const measureS = Number(option("measure", 3)), cpu = process.cpuUsage();
  say({ phase: "measuring" });
  await flood(measureS);
  say({ phase: "done", took_s: measureS, cpu: cpuShare(cpu, measureS) });
}
process.exit(0);
