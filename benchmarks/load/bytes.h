/* Little-endian numbers in buffers, with bounds that are checked once, at the end. */
#ifndef BYTES_H
#define BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t *at;
    uint8_t *end;
} writer;

static inline void put_u8(writer *out, uint8_t value) { *out->at++ = value; }
static inline void put_bytes(writer *out, const void *data, size_t size) {
    memcpy(out->at, data, size);
    out->at += size;
}
static inline void put_number(writer *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) *out->at++ = (uint8_t)(value >> 8 * i);
}
static inline void put_u16(writer *out, uint64_t value) { put_number(out, value, 2); }
static inline void put_u32(writer *out, uint64_t value) { put_number(out, value, 4); }
static inline void put_u64(writer *out, uint64_t value) { put_number(out, value, 8); }
static inline size_t room(const writer *out) { return (size_t)(out->end - out->at); }

/* Reading past the end gives zeros and marks the reader as bad. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    int is_bad;
} reader;

static inline const uint8_t *take(reader *in, size_t size) {
    if ((size_t)(in->end - in->at) < size) {
        in->is_bad = 1;
        in->at = in->end;
        return NULL;
    }
    const uint8_t *data = in->at;
    in->at += size;
    return data;
}
static inline uint64_t take_number(reader *in, int bytes) {
    const uint8_t *data = take(in, (size_t)bytes);
    uint64_t value = 0;
    if (data != NULL)
        for (int i = 0; i < bytes; i++) value |= (uint64_t)data[i] << 8 * i;
    return value;
}
static inline uint8_t take_u8(reader *in) { return (uint8_t)take_number(in, 1); }
static inline uint16_t take_u16(reader *in) { return (uint16_t)take_number(in, 2); }
static inline uint32_t take_u32(reader *in) { return (uint32_t)take_number(in, 4); }
static inline uint64_t take_u64(reader *in) { return take_number(in, 8); }

#endif
