/* One virtual client, whatever protocol it speaks. */
#ifndef CLIENT_H
#define CLIENT_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_S 1000000000ull
#define NEVER_NS UINT64_MAX

typedef struct {
    const char *host;
    uint16_t port;
    const char *game;
    uint8_t key[32];
    double input_hz;     /* 0: none */
    double ack_delay_s;  /* the longest wait of an acknowledgement ... */
    double max_ack_delay_s; /* ... and where an input is due soon after */
    uint32_t event_types; /* 0: INPUT alone; else TYPE 0, TYPE 1, ... in turn */
    int floods;          /* reliable events as fast as they go, instead of inputs */
    uint32_t max_flight; /* packets of them under way */
} client_options;

typedef struct client client;

typedef struct {
    const char *name;
    size_t size;
    /* The first packet may leave here. */
    void (*start)(client *self, uint64_t now);
    void (*receive)(client *self, const uint8_t *data, size_t size, uint64_t now);
    /* Sends what is due; gives when it wants to be called next. */
    uint64_t (*run)(client *self, uint64_t now);
    void (*leave)(client *self);
} protocol;

extern const protocol pygase_gevent_protocol, bare_protocol, enet_protocol;

/* The head of every protocol's own struct. */
struct client {
    const protocol *protocol;
    const client_options *options;
    int fd;
    uint32_t index;
    int is_connected, is_closed;
    uint64_t next_input;
    uint32_t inputs;
    /* counters */
    uint64_t states, newest_stamp, bytes_in, bytes_out, packets_in, packets_out, refused, malformed, resent;
};

void client_send(client *self, const uint8_t *data, size_t size);
/* A state arrived: looks for the server's clock in it. */
void client_saw_state(client *self, const uint8_t *data, size_t size, uint64_t now);
/* An input leaves: schedules the next, and notes how old the state is that it was made on. */
void client_made_input(client *self, uint64_t now);

#endif
