#include "aead.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NONCE_BYTES 12

struct aead {
    EVP_CIPHER_CTX *context;
};

static void must(int is_well, const char *what) {
    if (!is_well) {
        fprintf(stderr, "libcrypto: %s failed\n", what);
        exit(3);
    }
}

aead *aead_new(const uint8_t key[KEY_BYTES], int is_sealing) {
    aead *cipher = malloc(sizeof *cipher);
    must(cipher != NULL, "malloc");
    cipher->context = EVP_CIPHER_CTX_new();
    must(cipher->context != NULL, "EVP_CIPHER_CTX_new");
    must(EVP_CipherInit_ex(cipher->context, EVP_chacha20_poly1305(), NULL, key, NULL, is_sealing) == 1, "key");
    return cipher;
}

void aead_free(aead *cipher) {
    if (cipher != NULL) {
        EVP_CIPHER_CTX_free(cipher->context);
        free(cipher);
    }
}

static void seal_with(EVP_CIPHER_CTX *context, const uint8_t nonce[NONCE_BYTES], const uint8_t *associated,
                      size_t associated_bytes, const uint8_t *plain, size_t size, uint8_t *out) {
    int written;
    must(EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce) == 1, "nonce");
    if (associated_bytes > 0)
        must(EVP_EncryptUpdate(context, NULL, &written, associated, (int)associated_bytes) == 1, "data");
    written = 0;
    if (size > 0) must(EVP_EncryptUpdate(context, out, &written, plain, (int)size) == 1, "encryption");
    must(EVP_EncryptFinal_ex(context, out + written, &written) == 1, "encryption");
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, MAC_BYTES, out + size) == 1, "tag");
}

static void write_nonce(uint8_t nonce[NONCE_BYTES], uint64_t sequence) {
    memset(nonce, 0, 4);
    for (int i = 0; i < 8; i++) nonce[4 + i] = (uint8_t)(sequence >> 8 * i);
}

void aead_seal(aead *cipher, uint64_t sequence, const uint8_t *associated, size_t associated_bytes,
               const uint8_t *plain, size_t size, uint8_t *out) {
    uint8_t nonce[NONCE_BYTES];
    write_nonce(nonce, sequence);
    seal_with(cipher->context, nonce, associated, associated_bytes, plain, size, out);
}

int aead_open(aead *cipher, uint64_t sequence, const uint8_t *associated, size_t associated_bytes,
              const uint8_t *sealed, size_t size, uint8_t *out) {
    uint8_t nonce[NONCE_BYTES];
    int written = 0;
    EVP_CIPHER_CTX *context = cipher->context;
    if (size < MAC_BYTES) return 0;
    size -= MAC_BYTES;
    write_nonce(nonce, sequence);
    must(EVP_DecryptInit_ex(context, NULL, NULL, NULL, nonce) == 1, "nonce");
    must(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, MAC_BYTES, (void *)(sealed + size)) == 1, "tag");
    if (associated_bytes > 0 &&
        EVP_DecryptUpdate(context, NULL, &written, associated, (int)associated_bytes) != 1)
        return 0;
    written = 0;
    if (size > 0 && EVP_DecryptUpdate(context, out, &written, sealed, (int)size) != 1) return 0;
    return EVP_DecryptFinal_ex(context, out + written, &written) == 1;
}

/* --- XChaCha20: HChaCha20 (draft-irtf-cfrg-xchacha, 2.2) makes the key, the rest is as above ------------- */

static uint32_t rotate_left(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

static void quarter_round(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
    *a += *b, *d = rotate_left(*d ^ *a, 16);
    *c += *d, *b = rotate_left(*b ^ *c, 12);
    *a += *b, *d = rotate_left(*d ^ *a, 8);
    *c += *d, *b = rotate_left(*b ^ *c, 7);
}

static uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void hchacha20(const uint8_t key[KEY_BYTES], const uint8_t nonce[16], uint8_t out[KEY_BYTES]) {
    static const uint8_t constant[] = "expand 32-byte k";
    uint32_t s[16];
    for (int i = 0; i < 4; i++) s[i] = load_u32(constant + 4 * i);
    for (int i = 0; i < 8; i++) s[4 + i] = load_u32(key + 4 * i);
    for (int i = 0; i < 4; i++) s[12 + i] = load_u32(nonce + 4 * i);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) quarter_round(&s[i], &s[4 + i], &s[8 + i], &s[12 + i]);
        for (int i = 0; i < 4; i++)
            quarter_round(&s[i], &s[4 + (i + 1) % 4], &s[8 + (i + 2) % 4], &s[12 + (i + 3) % 4]);
    }
    for (int i = 0; i < 8; i++) {
        uint32_t word = i < 4 ? s[i] : s[8 + i];
        for (int byte = 0; byte < 4; byte++) out[4 * i + byte] = (uint8_t)(word >> 8 * byte);
    }
}

void aead_seal_token(const uint8_t key[KEY_BYTES], const uint8_t nonce[TOKEN_NONCE_BYTES],
                     const uint8_t *associated, size_t associated_bytes, const uint8_t *plain, size_t size,
                     uint8_t *out) {
    uint8_t derived[KEY_BYTES], rest[NONCE_BYTES] = {0};
    hchacha20(key, nonce, derived);
    memcpy(rest + 4, nonce + 16, 8);
    aead *cipher = aead_new(derived, 1);
    seal_with(cipher->context, rest, associated, associated_bytes, plain, size, out);
    aead_free(cipher);
}

void random_bytes(uint8_t *out, size_t size) { must(RAND_bytes(out, (int)size) == 1, "RAND_bytes"); }
