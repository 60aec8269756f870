/* Some thousand virtual clients in one process: connects them, plays, measures, says it in lines of JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define STEP_NS 500000ull       /* the loop looks this often: batches instead of wake-ups */
#define CONNECT_PATIENCE_S 10.0  /* beyond the time that starting them all takes */
#define MAX_CLIENTS 20000
#define READY_BATCH 512
#define RECEIVE_BATCH 64
#define SOCKET_BUFFER_BYTES (1 << 20)
#define STAMP_BASE (1ull << 40) /* added to the clock in states, so that it has eight bytes in msgpack */
#define BUCKETS 4096            /* of a histogram: steps of 0.25 ms, the last takes all above */
#define BUCKET_NS 250000ull

typedef struct {
    uint64_t count, largest, buckets[BUCKETS];
} histogram;

typedef struct {
    client_options client;
    const protocol *protocol;
    uint32_t clients;
    double connect_rate, settle_s, measure_s;
    int vanishes;
} arguments;

typedef struct {
    uint64_t states, bytes_in, bytes_out, packets_in, packets_out;
    uint32_t inputs;
} counters;

static histogram staleness, lateness;
static int is_measuring;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static void note(histogram *in, uint64_t value_ns) {
    uint64_t bucket = value_ns / BUCKET_NS;
    in->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    in->count++;
    if (value_ns > in->largest) in->largest = value_ns;
}

static double percentile_ms(const histogram *of, double share) {
    uint64_t wanted = (uint64_t)((double)of->count * share), seen = 0;
    for (int i = 0; i < BUCKETS - 1; i++) {
        seen += of->buckets[i];
        if (seen > wanted) return ((double)i + 0.5) * BUCKET_NS / 1e6;
    }
    return (double)of->largest / 1e6;
}

/* --- what protocols call ------------------------------------------------------------------------------- */

void client_send(client *self, const uint8_t *data, size_t size) {
    if (send(self->fd, data, size, 0) == (ssize_t)size) {
        self->packets_out++;
        self->bytes_out += size;
    }
}

/* The clock in a state is a msgpack integer of microseconds: eight bytes, the largest first. Whatever the keys
   around it are encoded as, eight bytes within ten seconds of this moment are it. */
void client_saw_state(client *self, const uint8_t *data, size_t size, uint64_t now) {
    uint64_t now_us = now / 1000 + STAMP_BASE;
    for (size_t i = 0; i + 8 <= size; i++) {
        uint64_t value = 0;
        memcpy(&value, data + i, 8);
        value = __builtin_bswap64(value);
        if (value <= now_us && now_us - value < 10000000) {
            if (value > self->newest_stamp) self->newest_stamp = value;
            return;
        }
    }
}

void client_made_input(client *self, uint64_t now) {
    uint64_t interval = (uint64_t)((double)NS_PER_S / self->options->input_hz);
    self->inputs++;
    self->next_input += interval;
    if (self->next_input + interval < now) self->next_input = now + interval; /* no burst after a stall */
    if (is_measuring && self->newest_stamp > 0) note(&staleness, now - (self->newest_stamp - STAMP_BASE) * 1000);
}

/* --- the world ----------------------------------------------------------------------------------------- */

static client **clients;
static uint64_t *due;
static uint32_t started;
static int poller;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void start_client(const arguments *from, uint64_t now) {
    client *self = calloc(1, from->protocol->size);
    if (self == NULL) die("calloc");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(from->client.port)};
    if (inet_pton(AF_INET, from->client.host, &address.sin_addr) != 1) die("host");
    self->protocol = from->protocol;
    self->options = &from->client;
    self->index = started;
    self->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (self->fd < 0) die("socket");
    int size = SOCKET_BUFFER_BYTES;
    setsockopt(self->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (connect(self->fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = started};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, self->fd, &event) != 0) die("epoll_ctl");
    /* Inputs of the clients spread evenly over an interval. */
    double phase = (double)(started * 2654435761u) / 4294967296.0;
    self->next_input = from->client.input_hz > 0
                           ? now + (uint64_t)(phase * (double)NS_PER_S / from->client.input_hz)
                           : NEVER_NS;
    clients[started] = self;
    due[started] = now;
    started++;
    self->protocol->start(self, now);
}

static void receive_all(void) {
    static uint8_t data[65536];
    struct epoll_event ready[READY_BATCH];
    int count;
    do {
        count = epoll_wait(poller, ready, READY_BATCH, 0);
        for (int i = 0; i < count; i++) {
            uint32_t index = ready[i].data.u32;
            client *self = clients[index];
            for (int n = 0; n < RECEIVE_BATCH; n++) {
                ssize_t size = recv(self->fd, data, sizeof data, 0);
                if (size < 0) break;
                self->packets_in++;
                self->bytes_in += (uint64_t)size;
                self->protocol->receive(self, data, (size_t)size, now_ns());
            }
            due[index] = 0;
        }
    } while (count == READY_BATCH);
}

static void run_due(uint64_t now) {
    for (uint32_t i = 0; i < started; i++)
        if (due[i] <= now) due[i] = clients[i]->protocol->run(clients[i], now);
}

static uint32_t connected(void) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < started; i++) count += clients[i]->is_connected && !clients[i]->is_closed;
    return count;
}

/* Plays until then; starts clients at their rate while there are some left. True once all are connected. */
static void play(const arguments *from, uint64_t end, int until_connected) {
    uint64_t begun = now_ns(), step = begun, last = begun;
    while (step < end) {
        uint64_t now = now_ns();
        if (is_measuring) note(&lateness, now - last > STEP_NS ? now - last - STEP_NS : 0);
        last = now;
        while (started < from->clients && (double)(now - begun) / 1e9 * from->connect_rate >= started)
            start_client(from, now);
        receive_all();
        run_due(now_ns());
        if (until_connected && started == from->clients && connected() == from->clients) return;
        step += STEP_NS;
        uint64_t after = now_ns();
        if (step < after) step = after;
        struct timespec until = {(time_t)(step / NS_PER_S), (long)(step % NS_PER_S)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
}

/* --- the report ---------------------------------------------------------------------------------------- */

static double cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static counters *snapshot(void) {
    counters *all = calloc(started ? started : 1, sizeof *all);
    for (uint32_t i = 0; i < started; i++) {
        client *c = clients[i];
        all[i] = (counters){c->states, c->bytes_in, c->bytes_out, c->packets_in, c->packets_out, c->inputs};
    }
    return all;
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void report(const counters *before, double took_s, double cpu) {
    uint64_t in = 0, out = 0, packets_in = 0, packets_out = 0, refused = 0, malformed = 0, inputs = 0, resent = 0;
    double *rates = calloc(started ? started : 1, sizeof *rates);
    for (uint32_t i = 0; i < started; i++) {
        client *c = clients[i];
        rates[i] = (double)(c->states - before[i].states) / took_s;
        in += c->bytes_in - before[i].bytes_in;
        out += c->bytes_out - before[i].bytes_out;
        packets_in += c->packets_in - before[i].packets_in;
        packets_out += c->packets_out - before[i].packets_out;
        inputs += c->inputs - before[i].inputs;
        refused += c->refused;
        malformed += c->malformed;
        resent += c->resent;
    }
    qsort(rates, started, sizeof *rates, by_size);
    double per = took_s * (started ? started : 1);
    printf("{\"phase\": \"done\", \"clients\": %u, \"connected\": %u, \"took_s\": %.3f, \"cpu\": %.3f, ", started,
           connected(), took_s, cpu / took_s);
    printf("\"states_hz_min\": %.2f, \"states_hz_p50\": %.2f, \"inputs_hz\": %.2f, ", started ? rates[0] : 0.0,
           started ? rates[started / 2] : 0.0, (double)inputs / per);
    printf("\"staleness_ms\": {\"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"max\": %.2f, \"n\": %llu}, ",
           percentile_ms(&staleness, 0.5), percentile_ms(&staleness, 0.9), percentile_ms(&staleness, 0.99),
           (double)staleness.largest / 1e6, (unsigned long long)staleness.count);
    printf("\"bytes_down\": %.1f, \"bytes_up\": %.1f, \"packets_down\": %.2f, \"packets_up\": %.2f, ",
           (double)in / per, (double)out / per, (double)packets_in / per, (double)packets_out / per);
    printf("\"late_ms_p99\": %.2f, \"refused\": %llu, \"malformed\": %llu, \"resent\": %llu}\n",
           percentile_ms(&lateness, 0.99), (unsigned long long)refused, (unsigned long long)malformed,
           (unsigned long long)resent);
    fflush(stdout);
    free(rates);
}

static void say(const char *phase) {
    printf("{\"phase\": \"%s\", \"connected\": %u}\n", phase, connected());
    fflush(stdout);
}

/* --- arguments ----------------------------------------------------------------------------------------- */

static void parse_key(const char *hex, uint8_t out[32]) {
    for (int i = 0; i < 32; i++) {
        unsigned int byte;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) {
            fprintf(stderr, "load: a key is 64 hexadecimal digits\n");
            exit(2);
        }
        out[i] = (uint8_t)byte;
    }
}

static const protocol *protocol_named(const char *name) {
    static const protocol *const all[] = {&pygase_gevent_protocol, &bare_protocol, &enet_protocol};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0) return all[i];
    fprintf(stderr, "load: there is no protocol %s\n", name);
    exit(2);
}

static void parse(int count, char **values, arguments *out) {
    for (int i = 1; i < count; i++) {
        const char *name = values[i];
        if (strcmp(name, "--flood") == 0) out->client.floods = 1;
        else if (strcmp(name, "--vanish") == 0) out->vanishes = 1;
        else if (i + 1 == count) goto unknown;
        else if (strcmp(name, "--protocol") == 0) out->protocol = protocol_named(values[++i]);
        else if (strcmp(name, "--host") == 0) out->client.host = values[++i];
        else if (strcmp(name, "--port") == 0) out->client.port = (uint16_t)atoi(values[++i]);
        else if (strcmp(name, "--game") == 0) out->client.game = values[++i];
        else if (strcmp(name, "--key") == 0) parse_key(values[++i], out->client.key);
        else if (strcmp(name, "--clients") == 0) out->clients = (uint32_t)atoi(values[++i]);
        else if (strcmp(name, "--input-hz") == 0) out->client.input_hz = atof(values[++i]);
        else if (strcmp(name, "--event-types") == 0) out->client.event_types = (uint32_t)atoi(values[++i]);
        else if (strcmp(name, "--ack-delay") == 0) out->client.ack_delay_s = atof(values[++i]);
        else if (strcmp(name, "--max-ack-delay") == 0) out->client.max_ack_delay_s = atof(values[++i]);
        else if (strcmp(name, "--flight") == 0) out->client.max_flight = (uint32_t)atoi(values[++i]);
        else if (strcmp(name, "--connect-rate") == 0) out->connect_rate = atof(values[++i]);
        else if (strcmp(name, "--settle") == 0) out->settle_s = atof(values[++i]);
        else if (strcmp(name, "--measure") == 0) out->measure_s = atof(values[++i]);
        else goto unknown;
        continue;
    unknown:
        fprintf(stderr, "load: what is %s?\n", name);
        exit(2);
    }
    if (out->clients < 1 || out->clients > MAX_CLIENTS || out->client.port == 0) {
        fprintf(stderr, "load: --port, and --clients from 1 to %d\n", MAX_CLIENTS);
        exit(2);
    }
}

int main(int count, char **values) {
    arguments from = {
        .client = {.host = "127.0.0.1", .game = "", .input_hz = 40, .ack_delay_s = 0.02, .max_ack_delay_s = 0.035, .max_flight = 64},
        .protocol = &pygase_gevent_protocol,
        .clients = 1,
        .connect_rate = 400,
        .settle_s = 1,
        .measure_s = 3,
    };
    parse(count, values, &from);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct rlimit files = {from.clients + 64, from.clients + 64};
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc(from.clients, sizeof *clients);
    due = calloc(from.clients, sizeof *due);
    poller = epoll_create1(0);
    if (poller < 0 || clients == NULL || due == NULL) die("start");

    uint64_t begun = now_ns();
    double connect_limit_s = from.clients / from.connect_rate + CONNECT_PATIENCE_S;
    play(&from, begun + (uint64_t)(connect_limit_s * 1e9), 1);
    say("connected");
    play(&from, now_ns() + (uint64_t)(from.settle_s * 1e9), 0);
    counters *before = snapshot();
    double cpu = cpu_s();
    uint64_t measured_at = now_ns();
    say("measuring");
    is_measuring = 1;
    play(&from, measured_at + (uint64_t)(from.measure_s * 1e9), 0);
    is_measuring = 0;
    report(before, (double)(now_ns() - measured_at) / 1e9, cpu_s() - cpu);
    if (!from.vanishes)
        for (uint32_t i = 0; i < started; i++) clients[i]->protocol->leave(clients[i]);
    return 0;
}
