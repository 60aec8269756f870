// Many clients of the Colyseus server in one process: raw WebSocket frames, no decoding but of the clock.
import WebSocket from "ws";
import { HZ, cpuShare, nowUs, option, percentiles, say } from "./game.mjs";

const JOIN_ROOM = 10, ROOM_DATA = 13, ROOM_STATE = 14, ROOM_STATE_PATCH = 15;
const STEP_MS = 2, CONNECT_LIMIT_MS = 60_000, AT_ONCE = 8;
const port = Number(option("port")), wanted = Number(option("clients", 1));
const settleS = Number(option("settle", 1)), measureS = Number(option("measure", 3));
const clients = [];
const staleness = [];
let isMeasuring = false;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const connected = () => clients.filter((client) => client.isConnected).length;

// The clock is a float of eight bytes; whatever stands before it, what lies within ten seconds of now is it.
let usualOffset = 0;
function findStamp(data) {
  const now = nowUs();
  const isIt = (i) => {
    const value = data.readDoubleLE(i);
    return value <= now && now - value < 1e7 ? value : 0;
  };
  if (usualOffset + 8 <= data.length) {
    const value = isIt(usualOffset);
    if (value) return value;
  }
  for (let i = 0; i + 8 <= data.length; i++) {
    const value = isIt(i);
    if (value) {
      usualOffset = i;
      return value;
    }
  }
  return 0;
}

function inputFrame(number) {
  const frame = Buffer.alloc(15);
  frame[0] = ROOM_DATA;
  frame.write("\xa5INPUT", 1, "latin1");
  frame[7] = 0x93;
  frame[8] = 0xce;
  frame.writeUInt32BE(number, 9);
  frame[13] = number % 3;
  frame[14] = number % 5;
  return frame;
}

async function join(index) {
  const answer = await fetch(`http://127.0.0.1:${port}/matchmake/joinOrCreate/game`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: "{}",
  });
  const seat = await answer.json();
  const socket = new WebSocket(`ws://127.0.0.1:${port}/${seat.processId}/${seat.roomId}?sessionId=${seat.sessionId}`, {
    perMessageDeflate: false,
  });
  const client = {
    socket, isConnected: false, states: 0, stamp: 0, inputs: 0, bytesIn: 0, bytesOut: 0, packetsIn: 0, packetsOut: 0,
    nextInput: performance.now() + ((index * 0.6180339887) % 1) * (1000 / HZ),
  };
  clients.push(client);
  socket.on("message", (data) => {
    client.packetsIn++;
    client.bytesIn += data.length + (data.length > 125 ? 4 : 2);
    const code = data[0];
    if (code === JOIN_ROOM) {
      socket.send(Buffer.from([JOIN_ROOM]));
      client.isConnected = true;
    } else if (code === ROOM_STATE || code === ROOM_STATE_PATCH) {
      client.states++;
      client.stamp = findStamp(data) || client.stamp;
    }
  });
  socket.on("close", () => { client.isConnected = false; });
  socket.on("error", () => { client.isConnected = false; });
}

function play() {
  const now = performance.now(), nowStamp = nowUs();
  for (const client of clients) {
    if (!client.isConnected || now < client.nextInput) continue;
    client.nextInput += 1000 / HZ;
    if (client.nextInput + 1000 / HZ < now) client.nextInput = now + 1000 / HZ;
    if (isMeasuring && client.stamp) staleness.push((nowStamp - client.stamp) / 1000);
    const frame = inputFrame(client.inputs++);
    client.packetsOut++;
    client.bytesOut += frame.length + 6;
    client.socket.send(frame);
  }
}

setInterval(play, STEP_MS);
const joins = Array.from({ length: AT_ONCE }, async (_, lane) => {
  for (let index = lane; index < wanted; index += AT_ONCE) await join(index);
});
await Promise.allSettled(joins);
for (const limit = performance.now() + CONNECT_LIMIT_MS; connected() < wanted && performance.now() < limit;) await sleep(20);
say({ phase: "connected", connected: connected() });
await sleep(settleS * 1000);

const before = clients.map((client) => ({ ...client }));
const cpu = process.cpuUsage(), begun = performance.now();
say({ phase: "measuring", connected: connected() });
isMeasuring = true;
await sleep(measureS * 1000);
isMeasuring = false;
const tookS = (performance.now() - begun) / 1000, per = tookS * clients.length;
const sum = (name) => clients.reduce((total, client, i) => total + client[name] - before[i][name], 0);
const rates = clients.map((client, i) => (client.states - before[i].states) / tookS).sort((a, b) => a - b);
say({
  phase: "done", clients: clients.length, connected: connected(), took_s: tookS, cpu: cpuShare(cpu, tookS),
  states_hz_min: rates[0] ?? 0, states_hz_p50: rates[rates.length >> 1] ?? 0, inputs_hz: sum("inputs") / per,
  staleness_ms: percentiles(staleness), bytes_down: sum("bytesIn") / per, bytes_up: sum("bytesOut") / per,
  packets_down: sum("packetsIn") / per, packets_up: sum("packetsOut") / per, late_ms_p99: 0,
});
process.exit(0);
