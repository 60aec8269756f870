#include "wire.h"

#include <openssl/sha.h>

#define REVISION 1

enum frame {
    PING = 0x01,
    CLOSE,
    WELCOME,
    TICKET,
    CLOCK_REQUEST,
    CLOCK_ANSWER,
    STATE_ACK,
    STATE_DELTA,
    STATE_FULL,
    STATE_FRAGMENT,
    STATE_STEP,
    EVENT_NAMES,
    STATE_NAMES,
    MESSAGE = 0x80
};

enum message_flag { FRAGMENT = 0x10, HAS_ID = 0x20, LONG = 0x40 };

void wire_user_data(uint8_t out[USER_DATA_BYTES]) {
    memset(out, 0, USER_DATA_BYTES);
    memcpy(out, "PGSe", 4);
    out[4] = REVISION;
}

uint64_t wire_protocol_id(const char *game) {
    static const char prefix[] = "pygase_gevent game";
    uint8_t digest[SHA256_DIGEST_LENGTH], text[sizeof prefix + 256];
    size_t size = strnlen(game, 256);
    memcpy(text, prefix, sizeof prefix); /* with its zero */
    memcpy(text + sizeof prefix, game, size);
    SHA256(text, sizeof prefix + size, digest);
    reader in = {digest, digest + 8, 0};
    return take_u64(&in);
}

/* --- writing ------------------------------------------------------------------------------------------ */

void wire_put_header(writer *out, int64_t largest, uint64_t mask, uint64_t delay_ns) {
    if (largest < 0) {
        put_u8(out, 0);
        return;
    }
    uint64_t delay = delay_ns / ACK_DELAY_UNIT_NS;
    if (delay > MAX_ACK_DELAY) delay = MAX_ACK_DELAY;
    int form = mask == MASK_ONES ? 0 : (mask | 0xFFFF) == MASK_ONES ? 1 : (mask | 0xFFFFFFFF) == MASK_ONES ? 2 : 3;
    put_u8(out, (uint8_t)(1 | form << 1 | (int)(delay & 0x1F) << 3));
    put_u8(out, (uint8_t)(delay >> 5));
    put_number(out, (uint64_t)largest, 3);
    put_number(out, mask, form == 0 ? 0 : 1 << form);
}

void wire_put_state_ack(writer *out, uint64_t newest) {
    put_u8(out, STATE_ACK);
    put_number(out, newest, 3);
}

void wire_put_clock_request(writer *out, uint16_t number) {
    put_u8(out, CLOCK_REQUEST);
    put_u16(out, number);
}

void wire_put_event_name(writer *out, uint8_t first, const char *type) {
    size_t size = strlen(type);
    put_u8(out, EVENT_NAMES);
    put_u8(out, first);
    put_u16(out, size + 3);
    put_u8(out, 0x91);
    put_u8(out, 0xC4);
    put_u8(out, (uint8_t)size);
    put_bytes(out, type, size);
}

void wire_put_message(writer *out, enum delivery delivery, int kind, uint64_t number, const uint8_t *body, size_t size) {
    put_u8(out, (uint8_t)(MESSAGE | (int)delivery | kind << 2 | (size > 255 ? LONG : 0)));
    if (delivery == RELIABLE) put_u16(out, number);
    if (size > 255)
        put_u16(out, size);
    else
        put_u8(out, (uint8_t)size);
    put_bytes(out, body, size);
}

size_t wire_message_bytes(enum delivery delivery, size_t size) {
    return 1 + (delivery == RELIABLE ? 2 : 0) + (size > 255 ? 2 : 1) + size;
}

static void put_event_head(writer *out, const char *type) {
    if (type == NULL) {
        put_u8(out, 0);
        return;
    }
    size_t size = strlen(type);
    put_u8(out, 0x93);
    put_u8(out, (uint8_t)(0xA0 | size)); /* a fixstr: at most 31 bytes */
    put_bytes(out, type, size);
}

size_t wire_input_body(uint8_t *out, const char *type, uint32_t number, int8_t x, int8_t y) {
    writer body = {out, out + 64};
    put_event_head(&body, type);
    put_u8(&body, 0x93);
    /* As short as msgpack has it. */
    int bytes = number < 0x80 ? 0 : number < 0x100 ? 1 : number < 0x10000 ? 2 : 4;
    if (bytes > 0) put_u8(&body, bytes == 1 ? 0xCC : bytes == 2 ? 0xCD : 0xCE);
    for (int shift = bytes == 0 ? 0 : 8 * bytes - 8; shift >= 0; shift -= 8) put_u8(&body, (uint8_t)(number >> shift));
    put_u8(&body, (uint8_t)x); /* fixints: -32 to 127 */
    put_u8(&body, (uint8_t)y);
    put_u8(&body, 0x80);
    return (size_t)(body.at - out);
}

size_t wire_bytes_body(uint8_t *out, const char *type, const uint8_t *data, uint8_t size) {
    writer body = {out, out + 64 + size};
    put_event_head(&body, type);
    put_u8(&body, 0x91);
    put_u8(&body, 0xC4);
    put_u8(&body, size);
    put_bytes(&body, data, size);
    put_u8(&body, 0x80);
    return (size_t)(body.at - out);
}

/* --- reading ------------------------------------------------------------------------------------------ */

static void parse_header(reader *in, payload *out) {
    uint8_t flags = take_u8(in);
    if (flags && !(flags & 1)) in->is_bad = 1;
    if (!(flags & 1)) return;
    int form = flags >> 1 & 3, mask_bytes = form == 0 ? 0 : 1 << form;
    out->has_ack = 1;
    take_u8(in); /* the delay */
    out->ack_largest = (uint32_t)take_number(in, 3);
    out->ack_mask = take_number(in, mask_bytes);
    if (mask_bytes < 8) out->ack_mask |= MASK_ONES << 8 * mask_bytes;
}

static size_t fragment_bytes(uint32_t index, uint32_t count, uint32_t total) {
    if (count == 0 || index >= count) return 0;
    uint32_t chunk = (total + count - 1) / count;
    return index + 1 < count ? chunk : total - chunk * (count - 1);
}

static void parse_message(reader *in, uint8_t flags, payload *out) {
    static const int number_bytes[] = {0, 6, 2, 4};
    int delivery = flags & 3;
    take(in, (size_t)(flags & HAS_ID ? 4 : number_bytes[delivery]));
    size_t size;
    if (flags & FRAGMENT) {
        uint32_t index = take_u16(in), count = take_u16(in);
        size = fragment_bytes(index, count, take_u32(in));
    } else {
        size = flags & LONG ? take_u16(in) : take_u8(in);
    }
    take(in, size);
    out->messages++;
}

static state_part *add_state(payload *out) {
    state_part *part = &out->state[out->states < MAX_PARTS ? out->states++ : MAX_PARTS - 1];
    memset(part, 0, sizeof *part);
    return part;
}

static void parse_state(reader *in, int is_full, payload *out) {
    state_part *part = add_state(out);
    part->is_full = is_full;
    part->newest = is_full ? take_u64(in) : take_u32(in);
    part->newest_bits = is_full ? 64 : 32;
    if (!is_full) part->distance = take_u16(in);
    part->part = take_u8(in);
    part->parts = take_u8(in);
    part->size = take_u16(in);
    if (part->part == 0) take_u64(in); /* the server's game clock */
    part->data = take(in, part->size);
}

static void parse_state_step(reader *in, payload *out) {
    state_part *part = add_state(out);
    part->newest = take_number(in, 3);
    part->newest_bits = 24;
    part->distance = take_u8(in);
    part->parts = 1;
    take_u16(in); /* how far the clock went */
    if (in->is_bad) return;
    part->size = (size_t)(in->end - in->at);
    part->data = take(in, part->size);
}

static void parse_state_fragment(reader *in, payload *out) {
    state_part *part = add_state(out);
    part->is_fragment = 1;
    part->transfer = take_u16(in);
    part->part = take_u16(in);
    part->parts = take_u16(in);
    part->size = fragment_bytes(part->part, part->parts, take_u32(in));
    part->data = take(in, part->size);
}

int wire_parse(const uint8_t *data, size_t size, payload *out) {
    reader in = {data, data + size, 0};
    memset(out, 0, offsetof(payload, state));
    out->messages = 0;
    parse_header(&in, out);
    while (in.at < in.end && !in.is_bad) {
        uint8_t type = take_u8(&in);
        if (type != CLOSE && type != STATE_ACK) out->is_eliciting = 1;
        if (type & MESSAGE) {
            parse_message(&in, type, out);
        } else if (type == STATE_DELTA || type == STATE_FULL) {
            parse_state(&in, type == STATE_FULL, out);
        } else if (type == STATE_STEP) {
            parse_state_step(&in, out);
        } else if (type == STATE_FRAGMENT) {
            parse_state_fragment(&in, out);
        } else if (type == EVENT_NAMES || type == STATE_NAMES) {
            take_u8(&in);
            take(&in, take_u16(&in));
        } else if (type == CLOCK_ANSWER) {
            take(&in, 14);
        } else if (type == WELCOME) {
            out->has_welcome = 1;
            take(&in, take_u8(&in));
        } else if (type == TICKET) {
            take_u32(&in);
            take(&in, take_u16(&in));
        } else if (type == CLOSE) {
            out->is_closed = 1;
            take_u16(&in);
            take(&in, take_u8(&in));
        } else if (type != PING) {
            in.is_bad = 1;
        }
    }
    return !in.is_bad;
}

int wire_transfer_newest(const uint8_t *data, size_t size, uint64_t *newest) {
    reader in = {data, data + size, 0};
    take_u64(&in); /* the base */
    *newest = take_u64(&in);
    return !in.is_bad;
}
