// The game on Colyseus.
import { createServer } from "node:http";
import { Room, Server } from "@colyseus/core";
import { schema, t } from "@colyseus/schema";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { ENTITIES, HP, HZ, MOVING, Referee, nowUs, option, position, say } from "./game.mjs";

const Entity = schema({ x: t.float32(), y: t.float32(), hp: t.uint8() }, "Entity");
const State = schema({ stamp: t.float64(), entities: t.map(Entity) }, "State");
const referee = new Referee();

class Game extends Room {
  patchRate = 1000 / HZ;
  autoDispose = false;
  tick = 0;

  onCreate() {
    const state = new State();
    for (let number = 0; number < ENTITIES; number++) {
      const entity = new Entity();
      [entity.x, entity.y] = position(number, 0);
      entity.hp = HP;
      state.entities.set(String(number), entity);
    }
    this.state = state;
    this.onMessage("INPUT", (client) => referee.count(client.sessionId));
    this.onMessage("E", (client) => referee.count(client.sessionId));
    this.onMessage("ECHO", (client, number) => client.send("ECHOED", number));
  }

  onBeforePatch(state) {
    this.tick++;
    for (let offset = 0; offset < MOVING; offset++) {
      const number = (this.tick * MOVING + offset) % ENTITIES;
      const entity = state.entities.get(String(number));
      [entity.x, entity.y] = position(number, this.tick);
    }
    state.stamp = nowUs();
  }
}

const http = createServer();
const server = new Server({ greet: false, transport: new WebSocketTransport({ server: http }) });
server.define("game", Game);
await server.listen(Number(option("port", 0)), "127.0.0.1");
say({ port: http.address().port, pid: process.pid });
referee.serve();
