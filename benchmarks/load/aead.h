/* ChaCha20-Poly1305 for packets and XChaCha20-Poly1305 for connect tokens, by OpenSSL's libcrypto. */
#ifndef AEAD_H
#define AEAD_H

#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES 32
#define MAC_BYTES 16
#define TOKEN_NONCE_BYTES 24

typedef struct aead aead;

/* One direction of one connection. */
aead *aead_new(const uint8_t key[KEY_BYTES], int is_sealing);
void aead_free(aead *cipher);

/* The nonce is four zero bytes and the sequence, little-endian. `out` has room for size + MAC_BYTES. */
void aead_seal(aead *cipher, uint64_t sequence, const uint8_t *associated, size_t associated_bytes,
               const uint8_t *plain, size_t size, uint8_t *out);

/* Gives 0 where `sealed` (with its tag) is not authentic; `out` has room for size - MAC_BYTES. */
int aead_open(aead *cipher, uint64_t sequence, const uint8_t *associated, size_t associated_bytes,
              const uint8_t *sealed, size_t size, uint8_t *out);

/* XChaCha20-Poly1305 as connect tokens are sealed with it. */
void aead_seal_token(const uint8_t key[KEY_BYTES], const uint8_t nonce[TOKEN_NONCE_BYTES],
                     const uint8_t *associated, size_t associated_bytes, const uint8_t *plain, size_t size,
                     uint8_t *out);

void random_bytes(uint8_t *out, size_t size);

#endif
