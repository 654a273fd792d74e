/* A counting sink that is not the bottleneck: one thread, epoll, no allocation per message.
 *
 *   sink http|smtp DELAY_MS
 *
 * Listens on two free ports of the loopback and prints them: "PORT CONTROL\n". PORT takes messages:
 * as HTTP, `POST .../Messages.json` with a form whose field To is the address, answered as Twilio
 * does (201, a JSON object with a sid), or `POST .../smtp/email` with a JSON object of letters, answered
 * as Brevo does (201, an id for each); as SMTP, the address of RCPT TO, counted when the final dot
 * has come. Both know keep-alive and pipelining; what arrives together is answered together.
 *
 * CONTROL takes one word and a newline: "counts" (one line of JSON), "addresses" (COUNT ADDRESS a
 * line), "times" (nanoseconds of the monotonic clock, one line a message), "reset".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST_SOCKETS = 8192, ROOM = 64 * 1024, ANSWER = 8192 };
enum kind { FREE, LISTENER, CONTROL_LISTENER, CLIENT, CONTROL };

struct place { /* one socket */
    enum kind kind;
    uint32_t generation;
    size_t filled;              /* bytes of `in` */
    char *in, *out;
    size_t room, out_filled, out_sent, out_room;
    int in_data;                /* SMTP: between DATA and the final dot */
    char recipient[256];
    int waits_to_write, closing;
};

struct later { int64_t at; int socket; uint32_t generation; unsigned length; char text[ANSWER]; };

static struct place places[MOST_SOCKETS];
static struct later *queue;     /* a ring of answers that are held back */
static size_t queue_start, queue_length, queue_room;
static int epoll, is_smtp, delay_ms;

/* ---- what is counted ---- */

static uint64_t messages;
static int64_t *times;
static size_t times_room;
static struct entry { char *address; uint32_t count; } *table;
static size_t table_room = 1 << 16, distinct;
static uint32_t most;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct entry *find(const char *address) {
    uint64_t hash = 1469598103934665603u;
    for (const char *c = address; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    size_t i = hash & (table_room - 1);
    while (table[i].address && strcmp(table[i].address, address)) i = (i + 1) & (table_room - 1);
    return &table[i];
}

static void grow_table(void) {
    struct entry *old = table;
    size_t room = table_room;
    table_room *= 2;
    table = calloc(table_room, sizeof *table);
    for (size_t i = 0; i < room; i++)
        if (old[i].address) *find(old[i].address) = old[i];
    free(old);
}

static void count(const char *address) {
    if (messages == times_room) {
        times_room = times_room ? times_room * 2 : 1 << 16;
        times = realloc(times, times_room * sizeof *times);
    }
    times[messages++] = now_ns();
    struct entry *entry = find(address);
    if (!entry->address) {
        entry->address = strdup(address);
        if (++distinct * 2 > table_room) { grow_table(); entry = find(address); }
    }
    if (++entry->count > most) most = entry->count;
}

static void forget(void) {
    for (size_t i = 0; i < table_room; i++) { free(table[i].address); table[i] = (struct entry){0}; }
    messages = distinct = most = 0;
}

/* ---- sockets ---- */

static void drop(int s) {
    struct place *p = &places[s];
    p->kind = FREE;
    p->generation++;
    p->filled = p->out_filled = p->out_sent = 0;
    p->in_data = p->waits_to_write = p->closing = 0;
    close(s);
}

static void watch(int s, uint32_t events, int how) {
    struct epoll_event e = {.events = events, .data.fd = s};
    epoll_ctl(epoll, how, s, &e);
}

static void push(int s) {
    struct place *p = &places[s];
    while (p->out_sent < p->out_filled) {
        ssize_t n = write(s, p->out + p->out_sent, p->out_filled - p->out_sent);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            if (!p->waits_to_write) watch(s, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            p->waits_to_write = 1;
            return;
        }
        if (n <= 0) { drop(s); return; }
        p->out_sent += n;
    }
    p->out_sent = p->out_filled = 0;
    if (p->waits_to_write) { watch(s, EPOLLIN, EPOLL_CTL_MOD); p->waits_to_write = 0; }
    if (p->closing) drop(s);
}

static void say(int s, const char *text, size_t length) {
    struct place *p = &places[s];
    if (p->out_filled + length > p->out_room) {
        p->out_room = (p->out_filled + length) * 2;
        p->out = realloc(p->out, p->out_room);
    }
    memcpy(p->out + p->out_filled, text, length);
    p->out_filled += length;
}

/* An answer to a message: at once, or `delay_ms` later in the order of arrival. */
static void answer(int s, const char *text, size_t length) {
    if (!delay_ms) { say(s, text, length); return; }
    if (queue_length == queue_room) {
        size_t room = queue_room ? queue_room * 2 : 1024;
        struct later *bigger = malloc(room * sizeof *bigger);
        for (size_t i = 0; i < queue_length; i++) bigger[i] = queue[(queue_start + i) % queue_room];
        free(queue);
        queue = bigger; queue_start = 0; queue_room = room;
    }
    struct later *l = &queue[(queue_start + queue_length++) % queue_room];
    l->at = now_ns() + (int64_t)delay_ms * 1000000;
    l->socket = s; l->generation = places[s].generation; l->length = length;
    memcpy(l->text, text, length);
}

/* Milliseconds until the next held answer is due; -1: none is held. */
static int give_due_answers(void) {
    while (queue_length) {
        struct later *l = &queue[queue_start];
        int64_t left = l->at - now_ns();
        if (left > 0) return (int)(left / 1000000) + 1;
        if (places[l->socket].kind == CLIENT && places[l->socket].generation == l->generation) {
            say(l->socket, l->text, l->length);
            push(l->socket);
        }
        queue_start = (queue_start + 1) % queue_room;
        queue_length--;
    }
    return -1;
}

/* ---- HTTP ---- */

static int hex(int c) { return isdigit(c) ? c - '0' : (tolower(c) - 'a' + 10) & 15; }

static void form_field_to(const char *body, size_t length, char *into, size_t room) {
    const char *end = body + length, *p = body;
    size_t n = 0;
    while (p < end && strncmp(p, "To=", 3)) {
        p = memchr(p, '&', end - p);
        if (!p) { into[0] = 0; return; }
        p++;
    }
    for (p += 3; p < end && *p != '&' && n + 1 < room; p++) {
        if (*p == '%' && p + 2 < end) { into[n++] = hex(p[1]) * 16 + hex(p[2]); p += 2; }
        else into[n++] = *p == '+' ? ' ' : *p;
    }
    into[n] = 0;
}

/* Counts the letters of a call to Brevo and writes their ids, as it answers; 0: more than fit. */
static int ids_of_letters(const char *body, size_t length, char *into, size_t room) {
    /* A quote inside of a text is escaped: this cannot stand in one. */
    static const char to[] = "\"to\": [{\"email\": \"", many[] = "\"messageVersions\": [";
    const char *p = body, *end = body + length;
    int several = memmem(body, length, many, sizeof many - 1) != NULL, found = 0;
    size_t n = snprintf(into, room, several ? "{\"messageIds\": [" : "{\"messageId\": ");
    while ((p = memmem(p, end - p, to, sizeof to - 1))) {
        p += sizeof to - 1;
        const char *quote = memchr(p, '"', end - p);
        char address[256];
        size_t size = quote ? (size_t)(quote - p) : 0;
        if (!size || size >= sizeof address || n + 64 > room) return 0;
        memcpy(address, p, size);
        address[size] = 0;
        count(address);
        n += snprintf(into + n, room - n, "%s\"<%llx@sink.example.com>\"", found++ ? ", " : "",
                      (unsigned long long)messages);
    }
    return found ? (int)(n + snprintf(into + n, room - n, several ? "]}" : "}")) : 0;
}

/* Bytes used up by one whole request at `text`; 0: more must come; -1: not HTTP. */
static ssize_t one_request(int s, char *text, size_t length) {
    char *end = memmem(text, length, "\r\n\r\n", 4);
    if (!end) return length < 16384 ? 0 : -1;
    size_t head = end + 4 - text, body = 0;
    *end = 0;
    char *field = strcasestr(text, "\r\ncontent-length:");
    *end = '\r';
    if (field) body = strtoul(field + 17, NULL, 10);
    if (length < head + body) return 0;
    char address[256], answer_text[ANSWER], json[ANSWER - 256];
    int ids = 0;
    if (memmem(text, head, "/Messages.json", 14) && !strncmp(text, "POST ", 5)) {
        form_field_to(text + head, body, address, sizeof address);
        count(address);
        int n = snprintf(json, sizeof json,
            "{\"sid\": \"SM%032llx\", \"status\": \"queued\", \"error_code\": null}",
            (unsigned long long)messages);
        int m = snprintf(answer_text, sizeof answer_text,
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", n, json);
        answer(s, answer_text, m);
    } else if (memmem(text, head, "/smtp/email ", 12) && !strncmp(text, "POST ", 5)
               && (ids = ids_of_letters(text + head, body, json, sizeof json))) {
        int m = snprintf(answer_text, sizeof answer_text,
            "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", ids, json);
        answer(s, answer_text, m);
    } else {
        static const char no[] = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        answer(s, no, sizeof no - 1);
    }
    return head + body;
}

/* ---- SMTP ---- */

static void reply(int s, const char *text) { say(s, text, strlen(text)); }

static void command(int s, char *line) {
    struct place *p = &places[s];
    if (!strncasecmp(line, "EHLO", 4))
        reply(s, "250-sink.example.com\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n");
    else if (!strncasecmp(line, "HELO", 4)) reply(s, "250 sink.example.com\r\n");
    else if (!strncasecmp(line, "RCPT TO:", 8)) {
        char *from = strchr(line, '<'), *to = from ? strchr(from, '>') : NULL;
        size_t n = from && to ? (size_t)(to - from - 1) : 0;
        if (n >= sizeof p->recipient) n = sizeof p->recipient - 1;
        memcpy(p->recipient, from ? from + 1 : "", n);
        p->recipient[n] = 0;
        reply(s, "250 2.1.5 Ok\r\n");
    } else if (!strncasecmp(line, "MAIL", 4)) reply(s, "250 2.1.0 Ok\r\n");
    else if (!strncasecmp(line, "DATA", 4)) { p->in_data = 1; reply(s, "354 Go on\r\n"); }
    else if (!strncasecmp(line, "QUIT", 4)) { p->closing = 1; reply(s, "221 2.0.0 Bye\r\n"); }
    else reply(s, "250 2.0.0 Ok\r\n");
}

/* Bytes used up by one command or one whole letter at `text`; 0: more must come. */
static ssize_t one_line_or_letter(int s, char *text, size_t length) {
    struct place *p = &places[s];
    if (p->in_data) {
        size_t used;
        if (length >= 3 && !memcmp(text, ".\r\n", 3)) used = 3;
        else {
            char *end = memmem(text, length, "\r\n.\r\n", 5);
            if (!end) return 0;
            used = end + 5 - text;
        }
        p->in_data = 0;
        count(p->recipient);
        char line[64];
        int n = snprintf(line, sizeof line, "250 2.0.0 Ok: queued as %llX\r\n", (unsigned long long)messages);
        answer(s, line, n);
        return used;
    }
    char *end = memchr(text, '\n', length);
    if (!end) return length < 16384 ? 0 : -1;
    *end = 0;
    command(s, text);
    return end + 1 - text;
}

/* ---- control ---- */

static void control(int s, char *text, size_t length) {
    char line[256];
    if (length >= 6 && !memcmp(text, "counts", 6)) {
        int n = snprintf(line, sizeof line,
            "{\"messages\": %llu, \"addresses\": %zu, \"most\": %u, \"first_ns\": %lld, \"last_ns\": %lld}\n",
            (unsigned long long)messages, distinct, most, messages ? (long long)times[0] : 0,
            messages ? (long long)times[messages - 1] : 0);
        say(s, line, n);
    } else if (length >= 9 && !memcmp(text, "addresses", 9)) {
        for (size_t i = 0; i < table_room; i++)
            if (table[i].address)
                say(s, line, snprintf(line, sizeof line, "%u %.200s\n", table[i].count, table[i].address));
    } else if (length >= 5 && !memcmp(text, "times", 5)) {
        for (uint64_t i = 0; i < messages; i++) say(s, line, snprintf(line, sizeof line, "%lld\n", (long long)times[i]));
    } else if (length >= 5 && !memcmp(text, "reset", 5)) {
        forget();
        say(s, "{}\n", 3);
    }
    places[s].closing = 1;
    push(s);
}

/* ---- the loop ---- */

static int listener(enum kind kind) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 1024)) { perror("sink"); exit(1); }
    getsockname(s, (struct sockaddr *)&a, &size);
    places[s].kind = kind;
    watch(s, EPOLLIN, EPOLL_CTL_ADD);
    return ntohs(a.sin_port);
}

static void welcome(int listening) {
    int on = 1, s;
    while ((s = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (s >= MOST_SOCKETS) { close(s); continue; }
        struct place *p = &places[s];
        p->kind = places[listening].kind == LISTENER ? CLIENT : CONTROL;
        if (!p->in) { p->room = ROOM; p->in = malloc(p->room); }
        setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(s, EPOLLIN, EPOLL_CTL_ADD);
        if (is_smtp && p->kind == CLIENT) { reply(s, "220 sink.example.com ESMTP\r\n"); push(s); }
    }
}

static void hear(int s) {
    struct place *p = &places[s];
    if (p->filled == p->room) { p->room *= 2; p->in = realloc(p->in, p->room); }
    ssize_t n = read(s, p->in + p->filled, p->room - p->filled);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) { drop(s); return; }
    p->filled += n;
    if (p->kind == CONTROL) { control(s, p->in, p->filled); return; }
    size_t used = 0;
    while (used < p->filled && !p->closing) {
        ssize_t step = is_smtp ? one_line_or_letter(s, p->in + used, p->filled - used)
                               : one_request(s, p->in + used, p->filled - used);
        if (step < 0) { drop(s); return; }
        if (!step) break;
        used += step;
    }
    memmove(p->in, p->in + used, p->filled - used);
    p->filled -= used;
    push(s);
}

int main(int count_of_words, char **words) {
    if (count_of_words != 3) { fprintf(stderr, "usage: sink http|smtp DELAY_MS\n"); return 2; }
    is_smtp = !strcmp(words[1], "smtp");
    delay_ms = atoi(words[2]);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    table = calloc(table_room, sizeof *table);
    epoll = epoll_create1(0);
    int port = listener(LISTENER), control_port = listener(CONTROL_LISTENER);
    printf("%d %d\n", port, control_port);
    fflush(stdout);
    struct epoll_event events[256];
    for (int wait = -1;; wait = give_due_answers()) {
        int n = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < n; i++) {
            int s = events[i].data.fd;
            if (places[s].kind == LISTENER || places[s].kind == CONTROL_LISTENER) welcome(s);
            else {
                if (events[i].events & EPOLLOUT) push(s);
                if (places[s].kind != FREE && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) hear(s);
            }
        }
    }
}
