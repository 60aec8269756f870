#include "netcode.h"

#include "bytes.h"

#define PRIVATE_BYTES 1024
#define TIMEOUT_S 10
#define NEVER UINT64_MAX

static const char VERSION_INFO[VERSION_INFO_BYTES] = "NETCODE 1.02";

void netcode_init(netcode *connection, const netcode_server *server, uint64_t client_id,
                  const uint8_t user_data[USER_DATA_BYTES]) {
    uint8_t to_server[KEY_BYTES], to_client[KEY_BYTES], nonce[TOKEN_NONCE_BYTES];
    random_bytes(to_server, sizeof to_server);
    random_bytes(to_client, sizeof to_client);
    random_bytes(nonce, sizeof nonce);

    uint8_t private_part[PRIVATE_BYTES - MAC_BYTES] = {0};
    writer out = {private_part, private_part + sizeof private_part};
    put_u64(&out, client_id);
    put_u32(&out, TIMEOUT_S);
    put_u32(&out, 1);
    put_u8(&out, 1); /* IPv4 */
    put_bytes(&out, server->host, 4);
    put_u16(&out, server->port);
    put_bytes(&out, to_server, KEY_BYTES);
    put_bytes(&out, to_client, KEY_BYTES);
    put_bytes(&out, user_data, USER_DATA_BYTES);

    uint8_t associated[VERSION_INFO_BYTES + 16];
    out = (writer){associated, associated + sizeof associated};
    put_bytes(&out, VERSION_INFO, VERSION_INFO_BYTES);
    put_u64(&out, server->protocol_id);
    put_u64(&out, NEVER);

    out = (writer){connection->request, connection->request + REQUEST_BYTES};
    put_u8(&out, REQUEST);
    put_bytes(&out, VERSION_INFO, VERSION_INFO_BYTES);
    put_u64(&out, server->protocol_id);
    put_u64(&out, NEVER);
    put_bytes(&out, nonce, TOKEN_NONCE_BYTES);
    aead_seal_token(server->key, nonce, associated, sizeof associated, private_part, sizeof private_part, out.at);

    out = (writer){connection->associated, connection->associated + sizeof connection->associated};
    put_bytes(&out, VERSION_INFO, VERSION_INFO_BYTES);
    put_u64(&out, server->protocol_id);
    connection->seal = aead_new(to_server, 1);
    connection->open = aead_new(to_client, 0);
    connection->next_sequence = 0;
}

void netcode_free(netcode *connection) {
    aead_free(connection->seal);
    aead_free(connection->open);
}

size_t netcode_seal(netcode *connection, enum packet_type type, const uint8_t *body, size_t size, uint8_t *out) {
    uint64_t sequence = connection->next_sequence++;
    int sequence_bytes = 1;
    while (sequence_bytes < 8 && sequence >> 8 * sequence_bytes) sequence_bytes++;
    uint8_t prefix = (uint8_t)(sequence_bytes << 4 | (int)type);
    writer packet = {out, out + MAX_PACKET_BYTES};
    put_u8(&packet, prefix);
    put_number(&packet, sequence, sequence_bytes);
    connection->associated[sizeof connection->associated - 1] = prefix;
    aead_seal(connection->seal, sequence, connection->associated, sizeof connection->associated, body, size,
              packet.at);
    return 1 + (size_t)sequence_bytes + size + MAC_BYTES;
}

int netcode_open(netcode *connection, const uint8_t *packet, size_t size, uint64_t *sequence, uint8_t *body,
                 size_t *body_bytes) {
    if (size < 2 + MAC_BYTES || size > MAX_PACKET_BYTES) return -1;
    uint8_t prefix = packet[0];
    int type = prefix & 15, sequence_bytes = prefix >> 4;
    size_t head = 1 + (size_t)sequence_bytes;
    if (type == REQUEST || type > DISCONNECT || sequence_bytes < 1 || sequence_bytes > 8 ||
        size < head + MAC_BYTES)
        return -1;
    reader in = {packet + 1, packet + head, 0};
    *sequence = take_number(&in, sequence_bytes);
    connection->associated[sizeof connection->associated - 1] = prefix;
    if (!aead_open(connection->open, *sequence, connection->associated, sizeof connection->associated,
                   packet + head, size - head, body))
        return -1;
    *body_bytes = size - head - MAC_BYTES;
    return type;
}
