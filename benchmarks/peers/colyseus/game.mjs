// The game of game.py, and how its programs talk to the benchmark.
import readline from "node:readline";

export const ENTITIES = 50, MOVING = 10, HZ = 40, HP = 100;
export const STAMP_BASE = 2 ** 40;

export const nowUs = () => Math.round(Number(process.hrtime.bigint()) / 1000) + STAMP_BASE;

export function position(number, tick) {
  return [(number * 37.1 + tick * 0.173) % 1000, (number * 11.7 + tick * 0.291) % 1000];
}

export const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");

export function option(name, fallback) {
  const at = process.argv.indexOf("--" + name);
  return at < 0 ? fallback : process.argv[at + 1];
}

export function percentiles(values) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] : 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1), n: sorted.length };
}

export function cpuShare(since, tookS) {
  const used = process.cpuUsage(since);
  return (used.user + used.system) / 1e6 / tookS;
}

// Counts the inputs of each client, and answers the benchmark's questions over standard input.
export class Referee {
  inputs = new Map();
  marked = new Map();

  count(client) {
    this.inputs.set(client, (this.inputs.get(client) ?? 0) + 1);
  }

  serve() {
    const lines = readline.createInterface({ input: process.stdin });
    lines.on("close", () => process.exit(0));
    lines.on("line", (line) => {
      if (line === "mark") {
        this.marked = new Map(this.inputs);
        this.markedAt = performance.now();
        say({});
      } else if (line === "report") {
        const tookS = (performance.now() - this.markedAt) / 1000;
        const rates = [...this.inputs].map(([client, n]) => (n - (this.marked.get(client) ?? 0)) / tookS);
        rates.sort((a, b) => a - b);
        say({
          clients: rates.length,
          inputs_hz_min: rates[0] ?? 0,
          inputs_hz_p50: rates[rates.length >> 1] ?? 0,
          events_per_s: rates.reduce((sum, rate) => sum + rate, 0),
        });
      } else {
        process.exit(0);
      }
    });
  }
}
