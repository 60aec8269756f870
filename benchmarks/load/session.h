/* What a session of ours remembers, for the two files that play it. */
#ifndef SESSION_H
#define SESSION_H

#include "client.h"
#include "wire.h"

#define STATES_KEPT 64
#define SENT_KEPT 256

enum stage { REQUESTING, RESPONDING, CONNECTED };

typedef struct {
    uint64_t sequence, state; /* the state that it acknowledged */
    uint64_t sent_at, first;  /* reliable events in it, from this number on */
    uint32_t events;
    int is_settled, has_state, has_name;
} sent_packet;

typedef struct {
    client base;
    netcode connection;
    enum stage stage;
    uint8_t challenge[CHALLENGE_PACKET_BYTES];
    uint64_t last_sent;
    /* what was received */
    int64_t largest;
    uint64_t mask, largest_at, ack_deadline;
    int eliciting;
    /* states */
    uint64_t applied[STATES_KEPT], newest, confirmed;
    int has_state, state_ack_due, has_confirmed;
    uint64_t assembling, parts_seen;
    uint32_t transfer, fragments_left;
    uint64_t transfer_newest;
    uint8_t *fragments;
    /* the clock */
    uint64_t next_clock;
    uint16_t clocks;
    uint64_t name_told_in;
    int is_name_told, is_name_known; /* of the one type of events: its number is 0 */
    /* what was sent */
    sent_packet sent[SENT_KEPT];
    uint64_t next_event, oldest_packet, flight;
    uint64_t lost_first[SENT_KEPT];
    uint32_t lost_events[SENT_KEPT], lost_count;
    uint64_t round_trip; /* the longest lately: a server at its limit answers late */
} session;

/* A payload in `buffer` (MAX_PAYLOAD_BYTES), from its header on; and its way out. */
writer begin_payload(session *self, uint8_t *buffer, uint64_t now);
sent_packet *finish_payload(session *self, uint8_t *buffer, writer *out, uint64_t now);
/* Tells of the type of events until the server knows it. True if it did. */
int put_name(session *self, writer *out, const char *type);
/* State acknowledgement and clock request, as far as they are due. True if there is one of a state. */
int put_control(session *self, writer *out, uint64_t now);

/* Reliable events as fast as they go: sends what may leave. */
void flood(session *self, uint64_t now);
/* Packets well below the largest acknowledged one are lost. */
void flood_acknowledged(session *self, uint64_t largest);
/* A packet that counted as lost was acknowledged after all: these events need not go again. */
void flood_was_late(session *self, uint64_t first);

#endif
