/* Layer 2 (PROTOCOL.md): every layout of it that the load generator knows stands in wire.c. */
#ifndef WIRE_H
#define WIRE_H

#include "bytes.h"
#include "netcode.h"

#define ACK_DELAY_UNIT_NS 16000
#define MAX_ACK_DELAY 0x1FFF
#define MASK_ONES UINT64_MAX
#define MAX_PARTS 64

#define NAMED 3

enum delivery { UNRELIABLE, SEQUENCED, RELIABLE, ORDERED };

/* A part of a state update, or a fragment of a transfer of one. */
typedef struct {
    int is_full, is_fragment;
    uint64_t newest; /* `newest_bits` of it; unknown in a fragment but the first */
    int newest_bits;
    uint32_t distance;
    uint32_t transfer, part, parts;
    const uint8_t *data;
    size_t size;
} state_part;

typedef struct {
    int has_ack, is_eliciting, is_closed, has_welcome;
    uint32_t ack_largest; /* 24 bits */
    uint64_t ack_mask;
    int states;
    state_part state[MAX_PARTS];
    int messages;
} payload;

/* netcode user data of a client that begins a new session. */
void wire_user_data(uint8_t out[USER_DATA_BYTES]);
/* netcode protocol id of a game. */
uint64_t wire_protocol_id(const char *game);

/* The header; `largest` is -1 before the first payload was received. */
void wire_put_header(writer *out, int64_t largest, uint64_t mask, uint64_t delay_ns);
void wire_put_state_ack(writer *out, uint64_t newest);
void wire_put_clock_request(writer *out, uint16_t number);
/* `kind` is 0, or NAMED where the body begins with the number of a type instead of the type. */
void wire_put_message(writer *out, enum delivery delivery, int kind, uint64_t number, const uint8_t *body, size_t size);
/* Says that type `first` has this name. */
void wire_put_event_name(writer *out, uint8_t first, const char *type);
size_t wire_message_bytes(enum delivery delivery, size_t size);

/* Event bodies: `type` with one unsigned and two small signed arguments, or with bytes. A type of NULL goes as
   the number 0 instead. */
size_t wire_input_body(uint8_t *out, const char *type, uint32_t number, int8_t x, int8_t y);
size_t wire_bytes_body(uint8_t *out, const char *type, const uint8_t *data, uint8_t size);

/* 0 where the payload is malformed. */
int wire_parse(const uint8_t *data, size_t size, payload *out);
/* The number of the state that a whole transfer leads to, from its first fragment; 0 where it is too short. */
int wire_transfer_newest(const uint8_t *data, size_t size, uint64_t *newest);

#endif
