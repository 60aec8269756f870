/* Reliable events as fast as the server takes them: the load of W3. */
#include "session.h"

#define PROBE_NS (NS_PER_S / 40)
#define LOST_AFTER 8
#define RELIABLE_WINDOW 4096
#define FLOOD_EVENT_BYTES 32
#define FLOOD_PACKETS_PER_RUN 32

static void send_events(session *self, uint64_t first, uint32_t events, uint64_t now) {
    uint8_t buffer[MAX_PAYLOAD_BYTES], body[128], data[FLOOD_EVENT_BYTES] = {0};
    writer out = begin_payload(self, buffer, now);
    int has_ack = put_control(self, &out, now), has_name = put_name(self, &out, "E");
    const char *type = self->is_name_known ? NULL : "E";
    for (uint32_t i = 0; i < events; i++) {
        memcpy(data, &(uint64_t){first + i}, sizeof(uint64_t));
        size_t size = wire_bytes_body(body, type, data, FLOOD_EVENT_BYTES);
        wire_put_message(&out, RELIABLE, type == NULL ? NAMED : 0, first + i, body, size);
    }
    sent_packet *packet = finish_payload(self, buffer, &out, now);
    packet->has_state = has_ack;
    packet->has_name = has_name;
    packet->state = self->newest;
    packet->first = first;
    packet->events = events;
    self->flight++;
}

static uint64_t oldest_event(session *self) {
    uint64_t oldest = self->next_event;
    for (uint32_t i = 0; i < self->lost_count; i++)
        if (self->lost_first[i] < oldest) oldest = self->lost_first[i];
    for (uint64_t s = self->oldest_packet; s < self->connection.next_sequence; s++) {
        sent_packet *packet = &self->sent[s % SENT_KEPT];
        if (packet->sequence == s && !packet->is_settled && packet->first < oldest) oldest = packet->first;
    }
    return oldest;
}

static void lose(session *self, sent_packet *packet) {
    packet->is_settled = 1;
    self->flight--;
    if (packet->events == 0) return;
    self->lost_first[self->lost_count] = packet->first;
    self->lost_events[self->lost_count++] = packet->events;
    self->base.resent++;
}

void flood(session *self, uint64_t now) {
    uint32_t per_packet = (MAX_PAYLOAD_BYTES - 15 - 16) / (uint32_t)wire_message_bytes(RELIABLE, 7 + FLOOD_EVENT_BYTES);
    uint64_t probe_after = PROBE_NS + 2 * self->round_trip;
    for (uint64_t s = self->oldest_packet; s < self->connection.next_sequence; s++) {
        sent_packet *packet = &self->sent[s % SENT_KEPT];
        if (packet->sequence == s && !packet->is_settled && now - packet->sent_at > probe_after) lose(self, packet);
    }
    while (self->oldest_packet < self->connection.next_sequence) {
        sent_packet *packet = &self->sent[self->oldest_packet % SENT_KEPT];
        if (packet->sequence == self->oldest_packet && !packet->is_settled) break;
        self->oldest_packet++;
    }
    for (int i = 0; i < FLOOD_PACKETS_PER_RUN; i++) {
        if (self->flight >= self->base.options->max_flight ||
            self->connection.next_sequence - self->oldest_packet >= SENT_KEPT - 2)
            return;
        if (self->lost_count > 0) {
            self->lost_count--;
            send_events(self, self->lost_first[self->lost_count], self->lost_events[self->lost_count], now);
        } else if (self->next_event + per_packet - oldest_event(self) <= RELIABLE_WINDOW) {
            send_events(self, self->next_event, per_packet, now);
            self->next_event += per_packet;
        } else {
            return;
        }
    }
}

void flood_acknowledged(session *self, uint64_t largest) {
    for (uint64_t s = self->oldest_packet; s + LOST_AFTER <= largest; s++) {
        sent_packet *packet = &self->sent[s % SENT_KEPT];
        if (packet->sequence == s && !packet->is_settled) lose(self, packet);
    }
}

void flood_was_late(session *self, uint64_t first) {
    for (uint32_t i = 0; i < self->lost_count; i++) {
        if (self->lost_first[i] != first) continue;
        self->lost_count--;
        self->lost_first[i] = self->lost_first[self->lost_count];
        self->lost_events[i] = self->lost_events[self->lost_count];
        return;
    }
}
