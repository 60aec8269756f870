/* Batches of datagrams, one system call for up to 64 of them: what plain_batches.py does one by one.

   The GIL stays held over the calls. The sockets are non-blocking, and who lets it go may wait long for it:
   beside one computing thread a batch of 64 took 3.0 ms to send and 1.3 to receive, against 0.36 and 0.10.

   No Python code runs between the filling of the buffers and their last use, so they may be shared by all
   sockets of the process. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH 64
#define MAX_DATAGRAM 65536 /* no UDP datagram is longer */
#define ADDRESSES 4096 /* remembered addresses, a power of two */

typedef union {
    sa_family_t family;
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} Sockaddr;

/* What tells two senders apart. */
typedef struct {
    uint8_t host[16];
    uint32_t scope;
    uint16_t port;
    uint16_t family;
} Sender;

typedef struct {
    Sender sender;
    PyObject *address;
} Known;

typedef struct {
    uint8_t *buffer;
    size_t buffer_bytes;
    Known *known; /* by hash; a newcomer takes the place of who was there */
} State;

static State *
state_of(PyObject *module)
{
    return (State *)PyModule_GetState(module);
}

static Sender
sender_of(const Sockaddr *from)
{
    Sender sender;

    memset(&sender, 0, sizeof sender);
    sender.family = from->family;
    if (from->family == AF_INET6) {
        memcpy(sender.host, &from->six.sin6_addr, 16);
        sender.scope = from->six.sin6_scope_id;
        sender.port = ntohs(from->six.sin6_port);
    }
    else {
        memcpy(sender.host, &from->four.sin_addr, 4);
        sender.port = ntohs(from->four.sin_port);
    }
    return sender;
}

static size_t
place_of(const Sender *sender)
{
    uint64_t words[3], hash = 0;

    memcpy(words, sender, sizeof words);
    for (int i = 0; i < 3; i++) {
        hash = (hash ^ words[i]) * 0x9E3779B97F4A7C15u;
        hash ^= hash >> 32;
    }
    return hash & (ADDRESSES - 1);
}

/* The text of a host as `normalize_address` gives it. */
static PyObject *
host_text(const Sender *sender)
{
    const uint8_t *host = sender->host;
    char text[INET6_ADDRSTRLEN];

    if (sender->family == AF_INET6) {
        if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)host))
            inet_ntop(AF_INET, host + 12, text, sizeof text);
        else {
            inet_ntop(AF_INET6, host, text, sizeof text);
            if (strchr(text, '.') != NULL) /* an "IPv4-compatible" address, long out of use */
                snprintf(text, sizeof text, "::%x:%x", host[12] << 8 | host[13], host[14] << 8 | host[15]);
        }
    }
    else
        inet_ntop(AF_INET, host, text, sizeof text);
    return PyUnicode_FromString(text);
}

/* `(host, port)`, the same object for the same sender as long as it is remembered. */
static PyObject *
address_of(State *state, const Sender *sender, PyObject *scopes)
{
    Known *known = &state->known[place_of(sender)];
    PyObject *host, *address;

    if (known->address != NULL && memcmp(&known->sender, sender, sizeof *sender) == 0)
        address = Py_NewRef(known->address);
    else {
        host = host_text(sender);
        address = host == NULL ? NULL : Py_BuildValue("(Ni)", host, (int)sender->port);
        if (address == NULL)
            return NULL;
        PyObject *before = known->address;
        known->sender = *sender;
        known->address = Py_NewRef(address);
        Py_XDECREF(before);
    }
    if (sender->scope != 0 && scopes != Py_None) {
        PyObject *scope = PyLong_FromUnsignedLong(sender->scope);
        if (scope == NULL || PyDict_SetItem(scopes, PyTuple_GET_ITEM(address, 0), scope) < 0) {
            Py_XDECREF(scope);
            Py_DECREF(address);
            return NULL;
        }
        Py_DECREF(scope);
    }
    return address;
}

static int
check_scopes(PyObject *scopes)
{
    if (scopes == Py_None || PyDict_CheckExact(scopes))
        return 0;
    PyErr_SetString(PyExc_TypeError, "scopes must be a dict or None");
    return -1;
}

static int
check_count(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", function, wanted, given);
    return -1;
}

static uint8_t *
buffer_for(State *state, size_t bytes)
{
    if (bytes > state->buffer_bytes) {
        uint8_t *larger = PyMem_Realloc(state->buffer, bytes);
        if (larger == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        state->buffer = larger;
        state->buffer_bytes = bytes;
    }
    return state->buffer;
}

PyDoc_STRVAR(receive_doc, "receive(socket, limit, until, max_bytes, scopes): see plain_batches.receive.");

static PyObject *
receive(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    Sockaddr senders[BATCH];
    PyObject *datas[BATCH];
    State *state = state_of(module);
    int made = 0;

    if (check_count("receive", nargs, 5) < 0 || check_scopes(args[4]) < 0)
        return NULL;
    int fd = PyObject_AsFileDescriptor(args[0]);
    Py_ssize_t limit = PyLong_AsSsize_t(args[1]);
    Py_ssize_t max_bytes = PyLong_AsSsize_t(args[3]);
    if (PyErr_Occurred())
        return NULL;
    if (limit < 1 || max_bytes < 1) {
        PyErr_SetString(PyExc_ValueError, "limit and max_bytes must be positive");
        return NULL;
    }
    if (max_bytes > MAX_DATAGRAM)
        max_bytes = MAX_DATAGRAM;
    int wanted = limit < BATCH ? (int)limit : BATCH;
    uint8_t *buffer = buffer_for(state, (size_t)BATCH * max_bytes);
    if (buffer == NULL)
        return NULL;
    for (int i = 0; i < wanted; i++) {
        parts[i].iov_base = buffer + (size_t)i * max_bytes;
        parts[i].iov_len = max_bytes;
        memset(&messages[i], 0, sizeof messages[i]);
        messages[i].msg_hdr.msg_name = &senders[i];
        messages[i].msg_hdr.msg_namelen = sizeof senders[i];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    int received = recvmmsg(fd, messages, wanted, MSG_DONTWAIT, NULL);
    int error = received < 0 ? errno : received < wanted ? EAGAIN : 0;
    if (received < 0)
        received = 0;
    /* bytes are no containers: making them collects no garbage and so runs nobody's code. */
    for (; made < received; made++) {
        datas[made] = PyBytes_FromStringAndSize(parts[made].iov_base, messages[made].msg_len);
        if (datas[made] == NULL)
            break;
    }
    /* From here on the buffer may be another's. */
    PyObject *result = NULL, *datagrams = made < received ? NULL : PyList_New(received);
    int moved = 0;
    while (datagrams != NULL && moved < received) {
        Sender sender = sender_of(&senders[moved]);
        PyObject *address = address_of(state, &sender, args[4]);
        PyObject *datagram = address == NULL ? NULL : PyTuple_New(2);
        if (datagram == NULL) {
            Py_XDECREF(address);
            Py_CLEAR(datagrams);
            break;
        }
        PyTuple_SET_ITEM(datagram, 0, datas[moved]);
        PyTuple_SET_ITEM(datagram, 1, address);
        PyList_SET_ITEM(datagrams, moved, datagram);
        moved++;
    }
    if (datagrams != NULL)
        result = Py_BuildValue("(Ni)", datagrams, error);
    for (; moved < made; moved++)
        Py_DECREF(datas[moved]);
    return result;
}

/* Fills in where to send to; the length of it, 0 where the host is none of this family, -1 with an error set. */
static int
fill_sockaddr(Sockaddr *to, PyObject *address, PyObject *scopes)
{
    PyObject *host;
    const char *text;
    Py_ssize_t length;

    if (!PyTuple_Check(address) || PyTuple_GET_SIZE(address) != 2 ||
        !PyUnicode_CheckExact(PyTuple_GET_ITEM(address, 0)) || !PyLong_Check(PyTuple_GET_ITEM(address, 1))) {
        PyErr_SetString(PyExc_TypeError, "an address must be a pair (host, port)");
        return -1;
    }
    host = PyTuple_GET_ITEM(address, 0);
    long port = PyLong_AsLong(PyTuple_GET_ITEM(address, 1));
    if (port < 0 || port > 65535) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_OverflowError, "port must be 0-65535");
        return -1;
    }
    text = PyUnicode_AsUTF8AndSize(host, &length);
    if (text == NULL)
        return -1;
    if (scopes == Py_None) {
        memset(&to->four, 0, sizeof to->four);
        to->four.sin_family = AF_INET;
        to->four.sin_port = htons((uint16_t)port);
        return inet_pton(AF_INET, text, &to->four.sin_addr) == 1 ? (int)sizeof to->four : 0;
    }
    memset(&to->six, 0, sizeof to->six);
    to->six.sin6_family = AF_INET6;
    to->six.sin6_port = htons((uint16_t)port);
    if (memchr(text, ':', length) == NULL) {
        uint8_t *mapped = to->six.sin6_addr.s6_addr;
        mapped[10] = mapped[11] = 0xFF;
        return inet_pton(AF_INET, text, mapped + 12) == 1 ? (int)sizeof to->six : 0;
    }
    if (inet_pton(AF_INET6, text, &to->six.sin6_addr) != 1)
        return 0;
    if (PyDict_GET_SIZE(scopes) > 0) {
        PyObject *scope = PyDict_GetItemWithError(scopes, host);
        if (scope != NULL)
            to->six.sin6_scope_id = (uint32_t)PyLong_AsUnsignedLong(scope);
        if (PyErr_Occurred())
            return -1;
    }
    return sizeof to->six;
}

PyDoc_STRVAR(send_doc, "send(socket, datagrams, start, scopes): see plain_batches.send.");

static PyObject *
send_batch(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t nargs)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    Sockaddr receivers[BATCH];
    Py_ssize_t sent = 0;
    int error = 0;

    if (check_count("send", nargs, 4) < 0 || check_scopes(args[3]) < 0)
        return NULL;
    int fd = PyObject_AsFileDescriptor(args[0]);
    Py_ssize_t start = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred())
        return NULL;
    if (!PyList_Check(args[1]) || start < 0) {
        PyErr_SetString(PyExc_TypeError, "datagrams must be a list, and start an index into it");
        return NULL;
    }
    while (error == 0 && start + sent < PyList_GET_SIZE(args[1])) {
        Py_ssize_t left = PyList_GET_SIZE(args[1]) - start - sent;
        int wanted = left < BATCH ? (int)left : BATCH, filled = 0;
        for (; filled < wanted; filled++) {
            PyObject *datagram = PyList_GET_ITEM(args[1], start + sent + filled);
            if (!PyTuple_Check(datagram) || PyTuple_GET_SIZE(datagram) != 2 ||
                !PyBytes_Check(PyTuple_GET_ITEM(datagram, 0))) {
                PyErr_SetString(PyExc_TypeError, "a datagram must be a pair (bytes, address)");
                return NULL;
            }
            int length = fill_sockaddr(&receivers[filled], PyTuple_GET_ITEM(datagram, 1), args[3]);
            if (length < 0)
                return NULL;
            if (length == 0) {
                error = EAFNOSUPPORT;
                break;
            }
            parts[filled].iov_base = PyBytes_AS_STRING(PyTuple_GET_ITEM(datagram, 0));
            parts[filled].iov_len = PyBytes_GET_SIZE(PyTuple_GET_ITEM(datagram, 0));
            memset(&messages[filled], 0, sizeof messages[filled]);
            messages[filled].msg_hdr.msg_name = &receivers[filled];
            messages[filled].msg_hdr.msg_namelen = length;
            messages[filled].msg_hdr.msg_iov = &parts[filled];
            messages[filled].msg_hdr.msg_iovlen = 1;
        }
        if (filled == 0)
            break;
        int taken = sendmmsg(fd, messages, filled, MSG_DONTWAIT);
        if (taken < 0)
            error = errno; /* of the first one; those before it went with an earlier call */
        else {
            sent += taken;
            if (taken < filled)
                error = 0; /* the next call says why */
        }
    }
    return Py_BuildValue("(ni)", sent, error);
}

static PyMethodDef methods[] = {
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, receive_doc},
    {"send", (PyCFunction)(void (*)(void))send_batch, METH_FASTCALL, send_doc},
    {NULL, NULL, 0, NULL},
};

static int
start(PyObject *module)
{
    State *state = state_of(module);

    state->known = PyMem_Calloc(ADDRESSES, sizeof *state->known);
    if (state->known == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static void
release(void *module)
{
    State *state = state_of(module);

    if (state == NULL)
        return;
    for (size_t i = 0; state->known != NULL && i < ADDRESSES; i++)
        Py_CLEAR(state->known[i].address);
    PyMem_Free(state->known);
    PyMem_Free(state->buffer);
    state->known = NULL;
    state->buffer = NULL;
    state->buffer_bytes = 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)start},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "pygase_gevent.hub._batches",
    .m_doc = "Batches of datagrams by recvmmsg and sendmmsg.",
    .m_size = sizeof(State),
    .m_methods = methods,
    .m_slots = slots,
    .m_free = release,
};

PyMODINIT_FUNC
PyInit__batches(void)
{
    return PyModuleDef_Init(&definition);
}
