/* Whole packets of netcode 1.02 sealed and opened by libsodium: what crypto.py, packet.py and replay.py
   do together, in the same steps.

   The functions are those inside PyNaCl, which crypto.py knows where to find: no headers are needed, and
   libcrypto would set up a context for each packet, and keep one for each direction of a connection. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define KEY_BYTES 32
#define MAC_BYTES 16
#define NONCE_BYTES 12
#define PREFIXES 256
#define TYPES 7
#define MAX_SEQUENCE_BYTES 8
#define SMALLEST_BYTES (1 + 1 + MAC_BYTES)
#define FIRST_REPLAY_PROTECTED 4

/* By packet type: request, denied, challenge, response, keep-alive, payload, disconnect. */
static const Py_ssize_t MIN_BODY_BYTES[TYPES] = {0, 0, 308, 308, 8, 1, 0};
static const Py_ssize_t MAX_BODY_BYTES[TYPES] = {0, 0, 308, 308, 8, 1200, 0};

/* In the order of the reading steps; the values are those of `DropReason`. */
typedef enum {
    TOO_SHORT,
    INVALID_TYPE,
    UNEXPECTED_TYPE,
    INVALID_SEQUENCE,
    REPLAYED,
    NOT_AUTHENTIC,
    WRONG_SIZE,
    REASONS
} Reason;

static const char *const REASON_NAMES[REASONS] = {
    "TOO_SHORT", "INVALID_TYPE",  "UNEXPECTED_TYPE", "INVALID_SEQUENCE",
    "REPLAYED",  "NOT_AUTHENTIC", "WRONG_SIZE",
};

/* libsodium's crypto_aead_chacha20poly1305_ietf_encrypt and _decrypt. */
typedef int Seal(unsigned char *out, unsigned long long *out_bytes, const unsigned char *body,
                 unsigned long long body_bytes, const unsigned char *associated_data,
                 unsigned long long associated_data_bytes, const unsigned char *secret_nonce,
                 const unsigned char *nonce, const unsigned char *key);
typedef int Open(unsigned char *out, unsigned long long *out_bytes, unsigned char *secret_nonce,
                 const unsigned char *sealed, unsigned long long sealed_bytes, const unsigned char *associated_data,
                 unsigned long long associated_data_bytes, const unsigned char *nonce, const unsigned char *key);

typedef struct {
    PyTypeObject *cipher_type;
    PyTypeObject *window_type;
    PyObject *reasons[REASONS];
    Seal *seal;
    Open *open;
} State;

static State *
state_of(PyObject *module)
{
    return (State *)PyModule_GetState(module);
}

static int
check_count(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", function, wanted, given);
    return -1;
}

/* --- PacketCipher ------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    PyObject *associated_data; /* a tuple of bytes, by prefix */
    unsigned char key[KEY_BYTES];
} Cipher;

static PyObject *
cipher_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"key", "associated_data", NULL};
    PyObject *associated_data;
    const char *key;
    Py_ssize_t key_bytes;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#O!:PacketCipher", names, &key, &key_bytes, &PyTuple_Type,
                                     &associated_data))
        return NULL;
    if (key_bytes != KEY_BYTES) {
        PyErr_Format(PyExc_ValueError, "a key has %d bytes, not %zd", KEY_BYTES, key_bytes);
        return NULL;
    }
    int is_valid = PyTuple_GET_SIZE(associated_data) == PREFIXES;
    for (int prefix = 0; is_valid && prefix < PREFIXES; prefix++)
        is_valid = PyBytes_Check(PyTuple_GET_ITEM(associated_data, prefix));
    if (!is_valid) {
        PyErr_SetString(PyExc_TypeError, "associated_data must be a tuple of 256 bytes objects");
        return NULL;
    }
    Cipher *self = (Cipher *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->associated_data = Py_NewRef(associated_data);
    memcpy(self->key, key, KEY_BYTES);
    return (PyObject *)self;
}

/* It is part of no cycle, but is tracked all the same: who looks for keys in a process asks the collector. */
static int
cipher_traverse(Cipher *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->associated_data);
    return 0;
}

static void
cipher_dealloc(Cipher *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    volatile unsigned char *key = self->key; /* or the compiler would leave out what nobody reads */
    for (int i = 0; i < KEY_BYTES; i++)
        key[i] = 0;
    Py_XDECREF(self->associated_data);
    type->tp_free(self);
    Py_DECREF(type);
}

/* RFC 8439's nonce as the standard has it: four zeros and the sequence. */
static void
write_nonce(unsigned char nonce[NONCE_BYTES], uint64_t sequence)
{
    memset(nonce, 0, 4);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] = (unsigned char)(sequence >> (8 * i));
}

static int
seal(const State *state, const Cipher *self, int prefix, uint64_t sequence, const unsigned char *body,
     int body_bytes, unsigned char *out)
{
    PyObject *associated_data = PyTuple_GET_ITEM(self->associated_data, prefix);
    unsigned char nonce[NONCE_BYTES];

    write_nonce(nonce, sequence);
    return state->seal(out, NULL, body, (unsigned long long)body_bytes,
                       (unsigned char *)PyBytes_AS_STRING(associated_data),
                       (unsigned long long)PyBytes_GET_SIZE(associated_data), NULL, nonce, self->key) == 0;
}

static int
unseal(const State *state, const Cipher *self, int prefix, uint64_t sequence, const unsigned char *sealed,
       int body_bytes, unsigned char *out)
{
    PyObject *associated_data = PyTuple_GET_ITEM(self->associated_data, prefix);
    unsigned char nonce[NONCE_BYTES];

    write_nonce(nonce, sequence);
    return state->open(out, NULL, NULL, sealed, (unsigned long long)body_bytes + MAC_BYTES,
                       (unsigned char *)PyBytes_AS_STRING(associated_data),
                       (unsigned long long)PyBytes_GET_SIZE(associated_data), nonce, self->key) == 0;
}

PyDoc_STRVAR(cipher_doc, "Seals and opens the packets of one direction of one connection.");

static PyType_Slot cipher_slots[] = {
    {Py_tp_doc, (void *)cipher_doc},
    {Py_tp_new, (void *)cipher_new},
    {Py_tp_dealloc, (void *)cipher_dealloc},
    {Py_tp_traverse, (void *)cipher_traverse},
    {0, NULL},
};

static PyType_Spec cipher_spec = {
    .name = "pygase_gevent.protocol.netcode._sealing.PacketCipher",
    .basicsize = sizeof(Cipher),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = cipher_slots,
};

/* --- ReplayWindow ------------------------------------------------------------------------------------ */

typedef struct {
    PyObject_VAR_HEAD
    uint64_t size;
    uint64_t most_recent;
    uint64_t received[]; /* a ring of bits */
} Window;

static PyObject *
window_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"size", NULL};
    Py_ssize_t size;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:ReplayWindow", names, &size))
        return NULL;
    if (size < 1 || size > 1 << 24) {
        PyErr_Format(PyExc_ValueError, "a replay window cannot have the size %zd", size);
        return NULL;
    }
    Window *self = (Window *)type->tp_alloc(type, (size + 63) / 64); /* zeroed */
    if (self != NULL)
        self->size = (uint64_t)size;
    return (PyObject *)self;
}

static void
window_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    type->tp_free(self);
    Py_DECREF(type);
}

static int
window_is_received(const Window *self, uint64_t sequence)
{
    if (sequence > self->most_recent)
        return 0;
    if (self->most_recent - sequence >= self->size)
        return 1;
    uint64_t bit = sequence % self->size;
    return self->received[bit / 64] >> (bit % 64) & 1;
}

static void
window_advance(Window *self, uint64_t sequence)
{
    uint64_t bit = sequence % self->size;

    if (sequence > self->most_recent) {
        uint64_t steps = sequence - self->most_recent;
        if (steps >= self->size)
            memset(self->received, 0, (size_t)((self->size + 63) / 64) * 8);
        else
            for (uint64_t step = 1; step < steps; step++) {
                uint64_t skipped = (self->most_recent + step) % self->size;
                self->received[skipped / 64] &= ~((uint64_t)1 << (skipped % 64));
            }
        self->most_recent = sequence;
    }
    self->received[bit / 64] |= (uint64_t)1 << (bit % 64);
}

static PyObject *
window_is_received_method(PyObject *self, PyObject *argument)
{
    unsigned long long sequence = PyLong_AsUnsignedLongLong(argument);

    if (sequence == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    return PyBool_FromLong(window_is_received((Window *)self, sequence));
}

static PyObject *
window_advance_method(PyObject *self, PyObject *argument)
{
    unsigned long long sequence = PyLong_AsUnsignedLongLong(argument);

    if (sequence == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    window_advance((Window *)self, sequence);
    Py_RETURN_NONE;
}

static PyMethodDef window_methods[] = {
    {"is_received", window_is_received_method, METH_O, "Whether it was received already, or is too old to know."},
    {"advance", window_advance_method, METH_O, "Records the sequence of an authentic packet."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(window_doc, "Remembers which sequences were received among the latest `size`.");

static PyType_Slot window_slots[] = {
    {Py_tp_doc, (void *)window_doc},
    {Py_tp_new, (void *)window_new},
    {Py_tp_dealloc, (void *)window_dealloc},
    {Py_tp_methods, window_methods},
    {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "pygase_gevent.protocol.netcode._sealing.ReplayWindow",
    .basicsize = sizeof(Window),
    .itemsize = sizeof(uint64_t),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};

/* --- packets ----------------------------------------------------------------------------------------- */

static Cipher *
as_cipher(const State *state, PyObject *object)
{
    if (Py_IS_TYPE(object, state->cipher_type))
        return (Cipher *)object;
    PyErr_Format(PyExc_TypeError, "a PacketCipher of this module is needed, not %.100s", Py_TYPE(object)->tp_name);
    return NULL;
}

PyDoc_STRVAR(write_packet_doc, "write_packet(packet_type, sequence, body, cipher): see packet.write_packet.");

static PyObject *
write_packet(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (check_count("write_packet", nargs, 4) < 0)
        return NULL;
    long packet_type = PyLong_AsLong(args[0]);
    if (packet_type == -1 && PyErr_Occurred())
        return NULL;
    unsigned long long sequence = PyLong_AsUnsignedLongLong(args[1]);
    if (sequence == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    State *state = state_of(module);
    Cipher *cipher = as_cipher(state, args[3]);
    if (cipher == NULL)
        return NULL;
    if (packet_type < 0 || packet_type > 15) {
        PyErr_SetString(PyExc_ValueError, "a packet type has four bits");
        return NULL;
    }
    if (!PyBytes_Check(args[2]) || PyBytes_GET_SIZE(args[2]) > 65536) {
        PyErr_SetString(PyExc_TypeError, "a body must be at most 65536 bytes");
        return NULL;
    }
    int body_bytes = (int)PyBytes_GET_SIZE(args[2]), sequence_bytes = 1;
    while (sequence_bytes < MAX_SEQUENCE_BYTES && sequence >> (8 * sequence_bytes) != 0)
        sequence_bytes++;
    int prefix = sequence_bytes << 4 | (int)packet_type;
    PyObject *packet = PyBytes_FromStringAndSize(NULL, 1 + sequence_bytes + body_bytes + MAC_BYTES);
    if (packet == NULL)
        return NULL;
    unsigned char *out = (unsigned char *)PyBytes_AS_STRING(packet);
    *out++ = (unsigned char)prefix;
    for (int i = 0; i < sequence_bytes; i++)
        *out++ = (unsigned char)(sequence >> (8 * i));
    if (!seal(state, cipher, prefix, sequence, (unsigned char *)PyBytes_AS_STRING(args[2]), body_bytes, out)) {
        Py_DECREF(packet);
        PyErr_SetString(PyExc_RuntimeError, "libsodium failed to seal a packet");
        return NULL;
    }
    return packet;
}

PyDoc_STRVAR(read_packet_doc, "read_packet(data, cipher, accepted, replay): see packet.read_packet.");

static PyObject *
read_packet(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    State *state = state_of(module);
    Window *replay = NULL;
    uint64_t sequence = 0;

    if (check_count("read_packet", nargs, 4) < 0)
        return NULL;
    Cipher *cipher = as_cipher(state, args[1]);
    if (cipher == NULL)
        return NULL;
    if (!PyBytes_Check(args[0]) || !PyTuple_Check(args[2]) || PyTuple_GET_SIZE(args[2]) != TYPES) {
        PyErr_SetString(PyExc_TypeError, "data must be bytes, and accepted a tuple of 7 bools");
        return NULL;
    }
    if (Py_IS_TYPE(args[3], state->window_type))
        replay = (Window *)args[3];
    else if (args[3] != Py_None) {
        PyErr_SetString(PyExc_TypeError, "replay must be a ReplayWindow of this module or None");
        return NULL;
    }
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[0]);
    if (size < SMALLEST_BYTES)
        return Py_NewRef(state->reasons[TOO_SHORT]);
    int prefix = data[0], packet_type = prefix & 15, sequence_bytes = prefix >> 4;
    if (packet_type >= TYPES)
        return Py_NewRef(state->reasons[INVALID_TYPE]);
    if (PyTuple_GET_ITEM(args[2], packet_type) != Py_True)
        return Py_NewRef(state->reasons[UNEXPECTED_TYPE]);
    if (sequence_bytes < 1 || sequence_bytes > MAX_SEQUENCE_BYTES)
        return Py_NewRef(state->reasons[INVALID_SEQUENCE]);
    Py_ssize_t body_bytes = size - 1 - sequence_bytes - MAC_BYTES;
    if (body_bytes < 0)
        return Py_NewRef(state->reasons[TOO_SHORT]);
    for (int i = sequence_bytes; i > 0; i--)
        sequence = sequence << 8 | data[i];
    if (packet_type < FIRST_REPLAY_PROTECTED)
        replay = NULL;
    if (replay != NULL && window_is_received(replay, sequence))
        return Py_NewRef(state->reasons[REPLAYED]);
    if (body_bytes > 65536) /* larger than any datagram */
        return Py_NewRef(state->reasons[NOT_AUTHENTIC]);
    PyObject *body = PyBytes_FromStringAndSize(NULL, body_bytes);
    if (body == NULL)
        return NULL;
    if (!unseal(state, cipher, prefix, sequence, data + 1 + sequence_bytes, (int)body_bytes,
                (unsigned char *)PyBytes_AS_STRING(body))) {
        Py_DECREF(body);
        return Py_NewRef(state->reasons[NOT_AUTHENTIC]);
    }
    if (replay != NULL)
        window_advance(replay, sequence);
    if (body_bytes < MIN_BODY_BYTES[packet_type] || body_bytes > MAX_BODY_BYTES[packet_type]) {
        Py_DECREF(body);
        return Py_NewRef(state->reasons[WRONG_SIZE]);
    }
    PyObject *packet = PyTuple_New(3), *type_number = PyLong_FromLong(packet_type),
             *sequence_number = PyLong_FromUnsignedLongLong(sequence);
    if (packet == NULL || type_number == NULL || sequence_number == NULL) {
        Py_XDECREF(packet);
        Py_XDECREF(type_number);
        Py_XDECREF(sequence_number);
        Py_DECREF(body);
        return NULL;
    }
    PyTuple_SET_ITEM(packet, 0, type_number);
    PyTuple_SET_ITEM(packet, 1, sequence_number);
    PyTuple_SET_ITEM(packet, 2, body);
    return packet;
}

static PyMethodDef methods[] = {
    {"read_packet", (PyCFunction)(void (*)(void))read_packet, METH_FASTCALL, read_packet_doc},
    {"write_packet", (PyCFunction)(void (*)(void))write_packet, METH_FASTCALL, write_packet_doc},
    {NULL, NULL, 0, NULL},
};

/* --- the module -------------------------------------------------------------------------------------- */

static int
take_reasons(State *state)
{
    PyObject *packet = PyImport_ImportModule("pygase_gevent.protocol.netcode.packet");
    PyObject *names = packet == NULL ? NULL : PyObject_GetAttrString(packet, "DropReason");

    Py_XDECREF(packet);
    for (int i = 0; names != NULL && i < REASONS; i++) {
        state->reasons[i] = PyObject_GetAttrString(names, REASON_NAMES[i]);
        if (state->reasons[i] == NULL)
            Py_CLEAR(names);
    }
    Py_XDECREF(names);
    return names == NULL ? -1 : 0;
}

static int
take_functions(State *state)
{
    PyObject *crypto = PyImport_ImportModule("pygase_gevent.protocol.netcode.crypto");
    PyObject *addresses = crypto == NULL ? NULL : PyObject_CallMethod(crypto, "aead_addresses", NULL);
    unsigned long long sealing = 0, opening = 0;

    Py_XDECREF(crypto);
    if (addresses != NULL && PyArg_ParseTuple(addresses, "KK", &sealing, &opening)) {
        state->seal = (Seal *)(uintptr_t)sealing;
        state->open = (Open *)(uintptr_t)opening;
    }
    Py_XDECREF(addresses);
    return state->seal == NULL || state->open == NULL ? -1 : 0;
}

static int
start(PyObject *module)
{
    State *state = state_of(module);

    if (take_functions(state) < 0)
        return -1;
    state->cipher_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &cipher_spec, NULL);
    state->window_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &window_spec, NULL);
    if (state->cipher_type == NULL || state->window_type == NULL ||
        PyModule_AddType(module, state->cipher_type) < 0 || PyModule_AddType(module, state->window_type) < 0)
        return -1;
    return take_reasons(state);
}

static int
traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = state_of(module);

    Py_VISIT(state->cipher_type);
    Py_VISIT(state->window_type);
    return 0;
}

static int
clear(PyObject *module)
{
    State *state = state_of(module);

    Py_CLEAR(state->cipher_type);
    Py_CLEAR(state->window_type);
    for (int i = 0; i < REASONS; i++)
        Py_CLEAR(state->reasons[i]);
    return 0;
}

static void
release(void *module)
{
    clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)start},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pygase_gevent.protocol.netcode._sealing",
    .m_doc = "netcode's packets, sealed and opened by libsodium.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = release,
};

PyMODINIT_FUNC
PyInit__sealing(void)
{
    return PyModuleDef_Init(&definition);
}
