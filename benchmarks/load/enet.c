/* A client of ENet 1.3 without checksum and compression: enough of its protocol to connect, to acknowledge what
   asks for it, to ping, and to send and receive unreliable packets. Numbers on its wire are big-endian. */
#include "bytes.h"
#include "client.h"
#include "aead.h"
#include "wire.h"

#define NO_PEER 0xFFF
#define SENT_TIME 0x8000
#define SESSION_SHIFT 12
#define ASKS_FOR_ACK 0x80
#define NO_CHANNEL 0xFF
#define CHANNELS 2
#define MTU 1392
#define WINDOW_BYTES 65536
#define CONNECT_INTERVAL_NS (NS_PER_S / 2)
#define PING_NS (NS_PER_S / 2)
#define MAX_ACKS 64

enum command { ACKNOWLEDGE = 1, CONNECT, VERIFY_CONNECT, DISCONNECT_PEER, PING_PEER, SEND_RELIABLE, SEND_UNRELIABLE,
               SEND_FRAGMENT, SEND_UNSEQUENCED, BANDWIDTH_LIMIT, THROTTLE_CONFIGURE, SEND_UNRELIABLE_FRAGMENT };

/* Size of each command behind its head of four bytes, without data. */
static const uint8_t BODY_BYTES[] = {0, 4, 44, 40, 4, 0, 2, 4, 20, 4, 8, 12, 20};

typedef struct {
    uint8_t channel;
    uint16_t number, sent_time;
} pending_ack;

typedef struct {
    client base;
    uint16_t peer, session_id, reliable, unreliable;
    uint32_t connect_id;
    uint64_t last_sent, next_ping;
    pending_ack acks[MAX_ACKS];
    int ack_count;
} enet;

static void put_big(writer *out, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--) put_u8(out, (uint8_t)(value >> 8 * i));
}

static uint64_t take_big(reader *in, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | take_u8(in);
    return value;
}

static void put_command(writer *out, int command, uint8_t channel, uint16_t number) {
    put_u8(out, (uint8_t)command);
    put_u8(out, channel);
    put_big(out, number, 2);
}

static writer begin(enet *self, uint8_t *buffer, size_t size, uint64_t now) {
    writer out = {buffer, buffer + size};
    put_big(&out, (uint64_t)(self->peer | SENT_TIME | (self->peer == NO_PEER ? 0 : self->session_id << SESSION_SHIFT)), 2);
    put_big(&out, now / 1000000 & 0xFFFF, 2);
    return out;
}

static void finish(enet *self, uint8_t *buffer, const writer *out, uint64_t now) {
    self->last_sent = now;
    client_send(&self->base, buffer, (size_t)(out->at - buffer));
}

static void send_connect(enet *self, uint64_t now) {
    uint8_t buffer[64];
    writer out = begin(self, buffer, sizeof buffer, now);
    put_command(&out, CONNECT | ASKS_FOR_ACK, NO_CHANNEL, 1);
    put_big(&out, self->base.index & 0xFFF, 2); /* our number for this peer */
    put_big(&out, 0xFFFF, 2);                   /* no session ids yet */
    put_big(&out, MTU, 4);
    put_big(&out, WINDOW_BYTES, 4);
    put_big(&out, CHANNELS, 4);
    put_big(&out, 0, 4); /* no limit of bandwidth */
    put_big(&out, 0, 4);
    put_big(&out, 5000, 4); /* the throttle's interval and steps, as ENet's own */
    put_big(&out, 2, 4);
    put_big(&out, 2, 4);
    put_big(&out, self->connect_id, 4);
    put_big(&out, 0, 4);
    finish(self, buffer, &out, now);
}

static void start(client *base, uint64_t now) {
    enet *self = (enet *)base;
    self->peer = NO_PEER;
    self->reliable = 1;
    random_bytes((uint8_t *)&self->connect_id, sizeof self->connect_id);
    send_connect(self, now);
}

static void verified(enet *self, reader in, uint64_t now) {
    self->peer = (uint16_t)take_big(&in, 2);
    take_u8(&in);
    self->session_id = take_u8(&in) & 3;
    self->base.is_connected = 1;
    self->next_ping = now + PING_NS;
}

static void receive(client *base, const uint8_t *data, size_t size, uint64_t now) {
    enet *self = (enet *)base;
    reader in = {data, data + size, 0};
    uint16_t flags = (uint16_t)take_big(&in, 2), sent_time = flags & SENT_TIME ? (uint16_t)take_big(&in, 2) : 0;
    while (in.at < in.end && !in.is_bad) {
        uint8_t head = take_u8(&in), channel = take_u8(&in), command = head & 15;
        uint16_t number = (uint16_t)take_big(&in, 2);
        if (command < ACKNOWLEDGE || command > SEND_UNRELIABLE_FRAGMENT) break;
        reader body = in;
        take(&in, BODY_BYTES[command]);
        if (command == SEND_RELIABLE || command == SEND_UNRELIABLE || command == SEND_UNSEQUENCED) {
            if (command != SEND_RELIABLE) take_big(&body, 2);
            size_t bytes = take_big(&body, 2);
            const uint8_t *state = take(&in, bytes);
            if (state != NULL) {
                base->states++;
                client_saw_state(base, state, bytes, now);
            }
        } else if (command == VERIFY_CONNECT) {
            verified(self, body, now);
        } else if (command == DISCONNECT_PEER) {
            base->is_closed = 1;
        }
        if (head & ASKS_FOR_ACK && self->ack_count < MAX_ACKS)
            self->acks[self->ack_count++] = (pending_ack){channel, number, sent_time};
    }
    if (in.is_bad) base->malformed++;
}

static void put_acks(enet *self, writer *out) {
    for (int i = 0; i < self->ack_count; i++) {
        pending_ack *ack = &self->acks[i];
        put_command(out, ACKNOWLEDGE, ack->channel, ack->number);
        put_big(out, ack->number, 2);
        put_big(out, ack->sent_time, 2);
    }
    self->ack_count = 0;
}

static uint64_t run(client *base, uint64_t now) {
    enet *self = (enet *)base;
    if (!base->is_connected) {
        if (now >= self->last_sent + CONNECT_INTERVAL_NS) send_connect(self, now);
        return self->last_sent + CONNECT_INTERVAL_NS;
    }
    int is_input_due = now >= base->next_input;
    if (!is_input_due && self->ack_count == 0 && now < self->next_ping) goto wait;
    uint8_t buffer[1024], body[64];
    writer out = begin(self, buffer, sizeof buffer, now);
    put_acks(self, &out);
    if (now >= self->next_ping) {
        put_command(&out, PING_PEER | ASKS_FOR_ACK, NO_CHANNEL, ++self->reliable);
        self->next_ping = now + PING_NS;
    }
    if (is_input_due) {
        uint32_t number = base->inputs;
        size_t size = wire_input_body(body, "INPUT", number, (int8_t)(number % 3) - 1, (int8_t)(number % 5) - 2);
        put_command(&out, SEND_UNRELIABLE, 0, 0);
        put_big(&out, ++self->unreliable, 2);
        put_big(&out, size, 2);
        put_bytes(&out, body, size);
        client_made_input(base, now);
    }
    finish(self, buffer, &out, now);
wait:
    return base->next_input < self->next_ping ? base->next_input : self->next_ping;
}

static void leave(client *base) {
    enet *self = (enet *)base;
    uint8_t buffer[16];
    if (!base->is_connected) return;
    writer out = begin(self, buffer, sizeof buffer, self->last_sent);
    put_command(&out, DISCONNECT_PEER | 0x40, NO_CHANNEL, 0);
    put_big(&out, 0, 4);
    finish(self, buffer, &out, self->last_sent);
}

const protocol enet_protocol = {"enet", sizeof(enet), start, receive, run, leave};
