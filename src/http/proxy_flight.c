/* One request to an origin, and those who wait for its response: they read its body from one buffer
 * at their own pace. While it is to be stored the buffer keeps everything; otherwise it is a
 * window, and the origin is read no faster than the slowest of them takes it. */
#include "http/proxy_impl.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t hash_key(struct slice key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static void flight_free(struct flight *flight)
{
    list_remove(&flight->link);
    list_remove(&flight->all);
    flight->proxy->n_tunnels -= flight->upgrade;
    buf_fini(&flight->request);
    buf_fini(&flight->client);
    free(flight->client_list);
    buf_fini(&flight->key);
    buf_fini(&flight->names);
    buf_fini(&flight->stale);
    buf_fini(&flight->reason);
    buf_fini(&flight->lines);
    buf_fini(&flight->data);
    buf_fini(&flight->tags);
    free(flight);
}

static struct flight *owner(struct origin_exchange *io)
{
    return LIST_ENTRY(io, struct flight, io);
}

/* Readers may leave, and the flight be over, while a callback is at work with it. */
static void unpin(struct flight *flight)
{
    flight->pinned--;
    if (flight->closed)
        flight_close(flight);
}

static void on_head(struct origin_exchange *io, const struct http1_reply *reply)
{
    struct flight *flight = owner(io);

    flight->pinned++;
    judge_head(flight, reply);
    unpin(flight);
}

static void on_end(struct origin_exchange *io, int err)
{
    struct flight *flight = owner(io);

    flight->pinned++;
    judge_end(flight, err);
    unpin(flight);
}

/* All that the client of a tunnel had to say has been passed on. */
static void end_tunnel(struct flight *flight)
{
    flight->pinned++;
    origin_cancel(&flight->io);
    judge_end(flight, ERR_OK);
    unpin(flight);
}

void flight_client_ended(struct flight *flight)
{
    flight->client_ended = true;
    if (!flight->ended && origin_write(&flight->io, slice_make("", 0)) == 0)
        end_tunnel(flight);
}

/* The connection takes the request's body now. */
static void on_drain(struct origin_exchange *io)
{
    struct flight *flight = owner(io);
    struct proxy_exchange *exchange;

    if (flight->client_ended && !flight->ended) {
        end_tunnel(flight);
        return;
    }
    if (flight->writable || !flight->upload)
        return;
    flight->writable = true;
    if (list_empty(&flight->readers))
        return;
    exchange = LIST_ENTRY(flight->readers.next, struct proxy_exchange, link);
    exchange->owner->want_body(exchange);
}

/* Everyone takes what there is; one may end, and leave the list, meanwhile. */
static void pump_all(struct flight *flight)
{
    LIST_EACH_SAFE (node, next, &flight->readers)
        respond_pump(LIST_ENTRY(node, struct proxy_exchange, link));
}

/* It is larger than what may be stored: pass it on from here. */
static void give_up_storing(struct flight *flight)
{
    flight->storing = false;
    buf_consume(&flight->data, flight->body_at);
    flight->body_at = 0;
    list_remove(&flight->link); /* who comes now cannot have its beginning */
    store_pass(flight);
}

static void take_body(struct flight *flight, struct slice piece)
{
    if (flight->failed || flight->closed || flight->settled)
        return;
    if (flight->storing && buf_len(&flight->data) + piece.len > flight->route->object_max)
        give_up_storing(flight);
    if (!flight->storing && list_empty(&flight->readers) && flight->headed) {
        flight->received += piece.len;
        origin_cancel(&flight->io);
        judge_end(flight, ERR_LOST);
        return;
    }
    if (buf_append(&flight->data, piece.data, piece.len) != ERR_OK) {
        origin_cancel(&flight->io);
        judge_end(flight, ERR_NOMEM);
        return;
    }
    flight->received += piece.len;
    pump_all(flight);
    flight_trim(flight);
}

static void on_body(struct origin_exchange *io, struct slice piece)
{
    struct flight *flight = owner(io);

    flight->pinned++;
    take_body(flight, piece);
    unpin(flight);
}

void flight_trim(struct flight *flight)
{
    uint64_t least = flight->received;

    if (flight->storing || flight->closed)
        return;
    LIST_EACH_SAFE (node, next, &flight->readers) {
        const struct proxy_exchange *exchange = LIST_ENTRY(node, struct proxy_exchange, link);

        least = exchange->at < least ? exchange->at : least;
    }
    if (least > flight->base && flight->headed) {
        buf_consume(&flight->data, (size_t)(least - flight->base));
        flight->base = least;
    }
    if (flight->ended)
        return;
    if (buf_len(&flight->data) > PROXY_WINDOW)
        origin_pause(&flight->io);
    else
        origin_resume(&flight->io);
}

void flight_close(struct flight *flight)
{
    flight->closed = true;
    if (list_empty(&flight->readers) && flight->pinned == 0)
        flight_free(flight);
}

struct flight *flight_find(struct proxy_exchange *exchange)
{
    struct slice key = buf_slice(&exchange->key);
    struct list *bucket = &exchange->proxy->flights[hash_key(key) % FLIGHT_BUCKETS];

    LIST_EACH_SAFE (node, next, bucket) {
        struct flight *flight = LIST_ENTRY(node, struct flight, link);

        if (flight->route == exchange->route && slice_eq(buf_slice(&flight->key), key) &&
            judge_can_join(flight, exchange))
            return flight;
    }
    return NULL;
}

static void add_reader(struct flight *flight, struct proxy_exchange *exchange)
{
    exchange->flight = flight;
    exchange->at = 0;
    list_push(&flight->readers, &exchange->link);
}

enum proxy_result flight_join(struct flight *flight, struct proxy_exchange *exchange)
{
    add_reader(flight, exchange);
    exchange->coalesced = true;
    if (exchange->forward == NULL)
        exchange->forward = flight->forward;
    if (flight->headed)
        respond_head(exchange);
    return PROXY_PENDING;
}

/* Only the end is to come: the connection can be used again. */
static bool all_received(const struct flight *flight)
{
    return flight->headed &&
           (flight->framing == FRAMING_NONE ||
            (flight->framing == FRAMING_LENGTH && flight->received == flight->length));
}

void flight_leave(struct proxy_exchange *exchange)
{
    struct flight *flight = exchange->flight;

    list_remove(&exchange->link);
    exchange->flight = NULL;
    if (!list_empty(&flight->readers)) {
        flight_trim(flight);
        return;
    }
    if (flight->closed) {
        flight_close(flight);
    } else if (!flight->ended && !flight->storing && !all_received(flight) &&
               (flight->headed || flight->lease == 0)) {
        /* Nobody wants it any more; what may yet be stored goes on. */
        origin_cancel(&flight->io);
        flight->ended = true;
        store_release(flight, 0);
        flight_close(flight);
    }
}

static int copy(struct buf *to, const struct buf *from)
{
    return buf_append(to, from->data == NULL ? "" : buf_head(from), buf_len(from));
}

/* stale: what is asked about; part: what may be completed. One of them, or neither. */
static struct flight *flight_create(struct proxy_exchange *exchange, struct slice stale,
                                    struct slice part)
{
    struct flight *flight = calloc(1, sizeof(*flight));

    if (flight == NULL)
        return NULL;
    list_init(&flight->link);
    list_init(&flight->readers);
    flight->proxy = exchange->proxy;
    flight->route = exchange->route;
    list_push(&flight->proxy->all, &flight->all);
    flight->page_len = exchange->page_len;
    flight->generation = exchange->generation;
    flight->get = exchange->request->method == HTTP1_GET;
    flight->head_request = exchange->head_only;
    flight->cacheable = exchange->cacheable;
    flight->unsafe = strcmp(exchange->forward, "method-unsafe") == 0;
    flight->forward = flight->unsafe ? "method" : exchange->forward;
    flight->validating = stale.len > 0;
    part_begin(flight, exchange, part);
    if (flight->completing)
        stale = part;
    if (copy(&flight->key, &exchange->key) != ERR_OK ||
        copy(&flight->names, &exchange->names) != ERR_OK ||
        buf_append(&flight->stale, stale.data, stale.len) != ERR_OK ||
        forward_compose(flight, exchange) != ERR_OK) {
        flight_free(flight);
        return NULL;
    }
    if (exchange->upgrade != NULL) {
        flight->upgrade = true;
        flight->proxy->n_tunnels++;
        flight->upload = true; /* from 101 on */
        flight->upload_ended = true;
    }
    flight->io = (struct origin_exchange){
        .head = buf_slice(&flight->request),
        .head_request = flight->head_request,
        .repeatable = !flight->upload && !flight->unsafe,
        .hash = hash_key(buf_slice(&flight->key)),
        .on_head = on_head,
        .on_body = on_body,
        .on_end = on_end,
        .on_drain = flight->upload ? on_drain : NULL,
    };
    return flight;
}

enum proxy_result flight_begin(struct proxy_exchange *exchange, uint64_t lease, bool join)
{
    struct slice stale = {0}, part = {0};
    struct flight *flight;
    int status;

    if (exchange->has_part)
        part = buf_slice(&exchange->found);
    else if (exchange->has_found && exchange->cacheable && !exchange->head_only)
        stale = buf_slice(&exchange->found);
    flight = flight_create(exchange, stale, part);
    if (flight == NULL) {
        if (lease != 0)
            (void)cache_fail(exchange->route->cache, buf_slice(&exchange->key), lease, 0, NULL);
        return proxy_fail(exchange, 503, "no memory for this request");
    }
    flight->lease = lease;
    if (join && !flight->ranged && !flight->rest)
        list_push(&flight->proxy->flights[flight->io.hash % FLIGHT_BUCKETS], &flight->link);
    add_reader(flight, exchange);
    status = origin_start(flight->route->origin, &flight->io);
    if (status == ERR_OK)
        return PROXY_PENDING;
    /* At once: detached first, so that the answer does not come by done(). */
    list_remove(&exchange->link);
    exchange->flight = NULL;
    flight->ended = true;
    store_release(flight, 0);
    respond_failure(exchange, flight, status);
    flight_free(flight);
    return PROXY_ANSWERED;
}

void flight_refresh(struct proxy_exchange *exchange, struct slice stale, uint64_t lease)
{
    struct flight *flight;

    exchange->forward = "stale";
    flight = flight_create(exchange, stale, slice_make("", 0));
    if (flight == NULL) {
        (void)cache_fail(exchange->route->cache, buf_slice(&exchange->key), lease, 0, NULL);
        return;
    }
    flight->get = true;
    flight->lease = lease;
    list_push(&flight->proxy->flights[flight->io.hash % FLIGHT_BUCKETS], &flight->link);
    if (origin_start(flight->route->origin, &flight->io) == ERR_OK)
        return;
    flight->ended = true;
    store_release(flight, 1000);
    flight_free(flight);
}

/* ---- the request's body ---- */

static void send_chunk(struct flight *flight, struct slice piece)
{
    char size[24];
    int len = snprintf(size, sizeof(size), "%zx\r\n", piece.len);

    origin_write(&flight->io, slice_make(size, (size_t)len));
    origin_write(&flight->io, piece);
    origin_write(&flight->io, SLICE_LIT("\r\n"));
}

void flight_body(struct proxy_exchange *exchange, struct slice piece, bool last)
{
    struct flight *flight = exchange->flight;

    if (!flight->upload || flight->ended || (flight->upgrade && !flight->tunnel))
        return;
    if (piece.len > 0 && flight->upload_chunked)
        send_chunk(flight, piece);
    else if (piece.len > 0)
        origin_write(&flight->io, piece);
    if (last && flight->upload_chunked)
        origin_write(&flight->io, SLICE_LIT("0\r\n\r\n"));
    if (last)
        flight->upload_ended = true;
    else if (!flight->ended && origin_write(&flight->io, slice_make("", 0)) > ORIGIN_UNSENT_MAX)
        flight->writable = false; /* on_drain() sets it again */
}
