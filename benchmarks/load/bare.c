/* The client of bare_server.py: a key in the first datagram, then a sequence and a sealed body. */
#include "client.h"
#include "aead.h"
#include "bytes.h"
#include "wire.h"

#define HELLO_BYTES (5 + 2 * KEY_BYTES)
#define HELLO_INTERVAL_NS (NS_PER_S / 5)

typedef struct {
    client base;
    uint8_t hello[HELLO_BYTES];
    aead *seal, *open;
    uint64_t next_sequence, last_sent;
} bare;

static void start(client *base, uint64_t now) {
    bare *self = (bare *)base;
    memcpy(self->hello, "HELLO", 5);
    random_bytes(self->hello + 5, 2 * KEY_BYTES);
    self->seal = aead_new(self->hello + 5, 1);
    self->open = aead_new(self->hello + 5 + KEY_BYTES, 0);
    self->last_sent = now;
    client_send(base, self->hello, HELLO_BYTES);
}

static void receive(client *base, const uint8_t *data, size_t size, uint64_t now) {
    bare *self = (bare *)base;
    uint8_t body[2048];
    reader in = {data, data + size, 0};
    uint64_t sequence = take_u64(&in);
    if (in.is_bad || size > sizeof body || !aead_open(self->open, sequence, NULL, 0, in.at, size - 8, body)) {
        base->malformed++;
        return;
    }
    base->is_connected = 1;
    base->states++;
    client_saw_state(base, body, size - 8 - MAC_BYTES, now);
}

static uint64_t run(client *base, uint64_t now) {
    bare *self = (bare *)base;
    if (!base->is_connected) {
        if (now >= self->last_sent + HELLO_INTERVAL_NS) {
            self->last_sent = now;
            client_send(base, self->hello, HELLO_BYTES);
        }
        return self->last_sent + HELLO_INTERVAL_NS;
    }
    if (now >= base->next_input) {
        uint8_t body[64], packet[128];
        uint32_t number = base->inputs;
        size_t size = wire_input_body(body, "INPUT", number, (int8_t)(number % 3) - 1, (int8_t)(number % 5) - 2);
        writer out = {packet, packet + sizeof packet};
        put_u64(&out, self->next_sequence);
        aead_seal(self->seal, self->next_sequence++, NULL, 0, body, size, out.at);
        client_made_input(base, now);
        client_send(base, packet, 8 + size + MAC_BYTES);
    }
    return base->next_input;
}

static void leave(client *base) {
    bare *self = (bare *)base;
    aead_free(self->seal);
    aead_free(self->open);
}

const protocol bare_protocol = {"bare", sizeof(bare), start, receive, run, leave};
