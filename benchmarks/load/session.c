/* A client of pygase_gevent as the library's own behaves: handshake, acknowledgements, states, inputs. */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

#define HANDSHAKE_INTERVAL_NS (NS_PER_S / 10)
#define KEEPALIVE_NS (NS_PER_S / 4)
#define CLOCK_NS NS_PER_S
#define QUICK_CLOCK_NS (NS_PER_S / 20)
#define QUICK_CLOCKS 5
#define ACK_EVERY 16
#define MASK_BITS 64
#define MAX_FRAGMENTS 16384

static uint64_t random_u64(void) {
    uint64_t value;
    random_bytes((uint8_t *)&value, sizeof value);
    return value;
}

static void start(client *base, uint64_t now) {
    session *self = (session *)base;
    uint8_t user_data[USER_DATA_BYTES];
    netcode_server server = {.protocol_id = wire_protocol_id(base->options->game), .port = base->options->port};
    unsigned int host[4] = {127, 0, 0, 1};
    for (int i = 0; i < 4; i++) server.host[i] = (uint8_t)host[i];
    memcpy(server.key, base->options->key, KEY_BYTES);
    wire_user_data(user_data);
    netcode_init(&self->connection, &server, random_u64(), user_data);
    self->largest = -1;
    self->mask = MASK_ONES;
    self->ack_deadline = NEVER_NS;
    self->transfer = UINT32_MAX;
    for (int i = 0; i < SENT_KEPT; i++) self->sent[i].is_settled = 1;
    self->last_sent = now;
    client_send(base, self->connection.request, REQUEST_BYTES);
}

static void send_packet(session *self, enum packet_type type, const uint8_t *body, size_t size, uint64_t now) {
    uint8_t packet[MAX_PACKET_BYTES];
    size_t packet_bytes = netcode_seal(&self->connection, type, body, size, packet);
    self->last_sent = now;
    client_send(&self->base, packet, packet_bytes);
}

/* --- payloads out ------------------------------------------------------------------------------------- */

writer begin_payload(session *self, uint8_t *buffer, uint64_t now) {
    writer out = {buffer, buffer + MAX_PAYLOAD_BYTES};
    wire_put_header(&out, self->largest, self->mask, self->largest < 0 ? 0 : now - self->largest_at);
    return out;
}

sent_packet *finish_payload(session *self, uint8_t *buffer, writer *out, uint64_t now) {
    uint64_t sequence = self->connection.next_sequence;
    sent_packet *packet = &self->sent[sequence % SENT_KEPT];
    *packet = (sent_packet){.sequence = sequence, .sent_at = now};
    send_packet(self, PAYLOAD, buffer, (size_t)(out->at - buffer), now);
    self->ack_deadline = NEVER_NS;
    self->eliciting = 0;
    return packet;
}

int put_control(session *self, writer *out, uint64_t now) {
    int has_ack = self->has_state && (self->state_ack_due || !self->has_confirmed || self->newest != self->confirmed);
    if (has_ack) wire_put_state_ack(out, self->newest);
    self->state_ack_due = 0;
    if (now >= self->next_clock) {
        wire_put_clock_request(out, self->clocks++);
        self->next_clock = now + (self->clocks < QUICK_CLOCKS ? QUICK_CLOCK_NS : CLOCK_NS);
    }
    return has_ack;
}

int put_name(session *self, writer *out, const char *type) {
    uint64_t next = self->connection.next_sequence;
    if (self->is_name_known || (self->is_name_told && next < self->name_told_in + MASK_BITS)) return 0;
    self->is_name_told = 1;
    self->name_told_in = next;
    wire_put_event_name(out, 0, type);
    return 1;
}

static void send_payload(session *self, int with_input, uint64_t now) {
    uint8_t buffer[MAX_PAYLOAD_BYTES], body[64];
    writer out = begin_payload(self, buffer, now);
    int has_ack = put_control(self, &out, now), has_name = 0;
    if (with_input) {
        uint32_t number = self->base.inputs, types = self->base.options->event_types;
        char type[32] = "INPUT";
        if (types > 0) snprintf(type, sizeof type, "TYPE %u", (self->base.index + number) % types);
        if (types == 0) has_name = put_name(self, &out, type);
        const char *head = self->is_name_known ? NULL : type;
        size_t size = wire_input_body(body, head, number, (int8_t)(number % 3) - 1, (int8_t)(number % 5) - 2);
        wire_put_message(&out, UNRELIABLE, head == NULL ? NAMED : 0, 0, body, size);
        client_made_input(&self->base, now);
    }
    sent_packet *packet = finish_payload(self, buffer, &out, now);
    packet->has_state = has_ack;
    packet->has_name = has_name;
    packet->state = self->newest;
    packet->is_settled = 1;
}

/* --- payloads in -------------------------------------------------------------------------------------- */

static int is_received(const session *self, int64_t sequence) {
    int64_t distance = self->largest - sequence;
    if (distance <= 0) return distance == 0;
    return distance > MASK_BITS || (self->mask >> (distance - 1) & 1);
}

/* An acknowledgement waits a little longer for the next input, if that is due soon after. */
static uint64_t ack_deadline(const session *self, uint64_t now) {
    const client_options *options = self->base.options;
    uint64_t soon = now + (uint64_t)(options->ack_delay_s * (double)NS_PER_S);
    uint64_t latest = now + (uint64_t)(options->max_ack_delay_s * (double)NS_PER_S);
    uint64_t next = options->floods ? 0 : self->base.next_input;
    return next > soon && next <= latest ? next : soon;
}

static void record(session *self, int64_t sequence, int is_eliciting, uint64_t now) {
    int64_t shift = sequence - self->largest;
    int is_in_order = shift == 1 || self->largest < 0;
    if (shift > 0) {
        /* A first payload shifts in a one for sequence -1, which does not exist. */
        if (shift > MASK_BITS) self->mask = 0;
        else self->mask = (shift == MASK_BITS ? 0 : self->mask << shift) | 1ull << (shift - 1);
        self->largest = sequence;
        self->largest_at = now;
    } else {
        self->mask |= 1ull << (-shift - 1);
    }
    if (!is_eliciting) return;
    self->eliciting++;
    if (!is_in_order || self->eliciting >= ACK_EVERY) self->ack_deadline = now;
    else if (self->ack_deadline == NEVER_NS) self->ack_deadline = ack_deadline(self, now);
}

static void settle(session *self, sent_packet *packet) {
    if (packet->has_name) self->is_name_known = 1;
    if (packet->has_state && (!self->has_confirmed || packet->state > self->confirmed)) {
        self->confirmed = packet->state;
        self->has_confirmed = 1;
    }
    if (!packet->is_settled) {
        self->flight--;
        packet->is_settled = 1;
    } else if (packet->events > 0) {
        flood_was_late(self, packet->first);
    }
    packet->events = 0;
}

static void receive_ack(session *self, const payload *in, uint64_t now) {
    uint64_t next = self->connection.next_sequence;
    if (next == 0) return;
    uint64_t largest = next - 1 - ((next - 1 - in->ack_largest) & 0xFFFFFF);
    if (largest >= next) return;
    sent_packet *newest = &self->sent[largest % SENT_KEPT];
    if (newest->sequence == largest && newest->sent_at > 0) {
        uint64_t sample = now - newest->sent_at, faded = self->round_trip - self->round_trip / 8;
        self->round_trip = sample > faded ? sample : faded;
    }
    for (uint64_t bit = 0; bit <= MASK_BITS && bit <= largest; bit++) {
        sent_packet *packet = &self->sent[(largest - bit) % SENT_KEPT];
        if (packet->sequence == largest - bit && (bit == 0 || in->ack_mask >> (bit - 1) & 1)) settle(self, packet);
    }
    if (self->base.options->floods) flood_acknowledged(self, largest);
}

static int is_applied(const session *self, uint64_t number) {
    return self->has_state && self->applied[number % STATES_KEPT] == number;
}

static void apply(session *self, uint64_t newest) {
    if (self->has_state && newest <= self->newest) return;
    self->newest = newest;
    self->has_state = 1;
    self->applied[newest % STATES_KEPT] = newest;
}

static void receive_part(session *self, const state_part *part, uint64_t now) {
    uint64_t newest = part->newest;
    if (!part->is_full) {
        /* Some bits of it: the number nearest to the newest applied. */
        int unknown = 64 - part->newest_bits;
        newest = self->newest + (uint64_t)((int64_t)((part->newest - self->newest) << unknown) >> unknown);
        if (!is_applied(self, newest - part->distance)) {
            self->base.refused++;
            return;
        }
    }
    if (self->has_state && newest <= self->newest) return;
    if (newest != self->assembling) self->parts_seen = 0;
    self->assembling = newest;
    self->parts_seen |= 1ull << (part->part & 63);
    client_saw_state(&self->base, part->data, part->size, now);
    if (self->parts_seen == (part->parts >= 64 ? UINT64_MAX : (1ull << part->parts) - 1)) {
        apply(self, newest);
        self->base.states++;
    }
}

static void receive_fragment(session *self, const state_part *part, uint64_t now) {
    if (part->parts > MAX_FRAGMENTS || part->part >= part->parts) return;
    if (part->transfer != self->transfer) {
        free(self->fragments);
        self->fragments = calloc(part->parts, 1);
        self->transfer = part->transfer;
        self->fragments_left = part->parts;
    }
    if (self->fragments == NULL || self->fragments[part->part]) return;
    self->fragments[part->part] = 1;
    client_saw_state(&self->base, part->data, part->size, now);
    if (part->part == 0 && !wire_transfer_newest(part->data, part->size, &self->transfer_newest)) return;
    if (--self->fragments_left == 0) {
        apply(self, self->transfer_newest);
        self->base.states++;
    }
}

static void receive_payload(session *self, uint64_t sequence, const uint8_t *data, size_t size, uint64_t now) {
    static payload in; /* one thread; too large for the stack of every packet */
    if (is_received(self, (int64_t)sequence)) return;
    if (!wire_parse(data, size, &in)) {
        self->base.malformed++;
        return;
    }
    if (in.is_closed) self->base.is_closed = 1;
    if (in.has_welcome) self->base.is_connected = 1;
    if (!self->base.is_connected) return;
    if (in.has_ack) receive_ack(self, &in, now);
    for (int i = 0; i < in.states; i++) {
        self->state_ack_due = 1;
        if (in.state[i].is_fragment) receive_fragment(self, &in.state[i], now);
        else receive_part(self, &in.state[i], now);
    }
    record(self, (int64_t)sequence, in.is_eliciting, now);
}

static void receive(client *base, const uint8_t *data, size_t size, uint64_t now) {
    session *self = (session *)base;
    uint8_t body[MAX_PACKET_BYTES];
    size_t body_bytes;
    uint64_t sequence;
    int type = netcode_open(&self->connection, data, size, &sequence, body, &body_bytes);
    if (type == CHALLENGE && self->stage == REQUESTING && body_bytes == CHALLENGE_PACKET_BYTES) {
        memcpy(self->challenge, body, body_bytes);
        self->stage = RESPONDING;
        send_packet(self, RESPONSE, self->challenge, sizeof self->challenge, now);
    } else if (type == KEEP_ALIVE && self->stage == RESPONDING) {
        static const uint8_t keep_alive[8] = {0};
        self->stage = CONNECTED;
        self->next_clock = now;
        send_packet(self, KEEP_ALIVE, keep_alive, sizeof keep_alive, now);
    } else if (type == PAYLOAD && self->stage == CONNECTED) {
        receive_payload(self, sequence, body, body_bytes, now);
    } else if (type == DENIED || type == DISCONNECT) {
        base->is_closed = 1;
    } else if (type < 0) {
        base->malformed++;
    }
}

/* --- time --------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t run(client *base, uint64_t now) {
    session *self = (session *)base;
    if (self->stage != CONNECTED) {
        if (now >= self->last_sent + HANDSHAKE_INTERVAL_NS) {
            if (self->stage == RESPONDING) {
                send_packet(self, RESPONSE, self->challenge, sizeof self->challenge, now);
            } else {
                self->last_sent = now;
                client_send(base, self->connection.request, REQUEST_BYTES);
            }
        }
        return self->last_sent + HANDSHAKE_INTERVAL_NS;
    }
    int is_live = base->is_connected && !base->is_closed;
    if (is_live && base->options->floods) {
        flood(self, now);
    } else if (is_live && now >= base->next_input) {
        send_payload(self, 1, now);
    }
    if (now >= self->ack_deadline || now >= self->next_clock || now >= self->last_sent + KEEPALIVE_NS)
        send_payload(self, 0, now);
    uint64_t due = earlier(earlier(self->ack_deadline, self->next_clock), self->last_sent + KEEPALIVE_NS);
    if (is_live && base->options->floods) return now;
    return is_live ? earlier(due, base->next_input) : due;
}

static void leave(client *base) {
    session *self = (session *)base;
    if (self->stage == CONNECTED) send_packet(self, DISCONNECT, NULL, 0, 0);
    netcode_free(&self->connection);
    free(self->fragments);
}

const protocol pygase_gevent_protocol = {"ours", sizeof(session), start, receive, run, leave};
