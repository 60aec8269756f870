/* The client's side of netcode 1.02: its own connect token, the handshake, sealed packets. */
#ifndef NETCODE_H
#define NETCODE_H

#include "aead.h"

#define VERSION_INFO_BYTES 13
#define REQUEST_BYTES (1 + VERSION_INFO_BYTES + 8 + 8 + TOKEN_NONCE_BYTES + 1024)
#define CHALLENGE_PACKET_BYTES (8 + 300)
#define MAX_PAYLOAD_BYTES 1200
#define MAX_PACKET_BYTES 1300
#define USER_DATA_BYTES 256

enum packet_type { REQUEST, DENIED, CHALLENGE, RESPONSE, KEEP_ALIVE, PAYLOAD, DISCONNECT };

typedef struct {
    uint64_t protocol_id;
    uint8_t key[KEY_BYTES];
    uint8_t host[4];
    uint16_t port;
} netcode_server;

typedef struct {
    aead *seal, *open;
    uint8_t associated[VERSION_INFO_BYTES + 8 + 1];
    uint8_t request[REQUEST_BYTES];
    uint64_t next_sequence;
} netcode;

/* Makes a token that never expires, and from it the request packet and the ciphers. */
void netcode_init(netcode *connection, const netcode_server *server, uint64_t client_id,
                  const uint8_t user_data[USER_DATA_BYTES]);
void netcode_free(netcode *connection);

/* An encrypted packet; gives its size. `out` has room for MAX_PACKET_BYTES. */
size_t netcode_seal(netcode *connection, enum packet_type type, const uint8_t *body, size_t size, uint8_t *out);

/* Gives the packet's type, or -1 where it is none of this connection. */
int netcode_open(netcode *connection, const uint8_t *packet, size_t size, uint64_t *sequence, uint8_t *body,
                 size_t *body_bytes);

#endif
