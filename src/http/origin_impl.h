/* What the files of the origin client share; nobody else includes this.
 *
 * origin.c         exchanges: which server, another try
 * origin_conn.c    one connection
 * origin_stream.c  its bytes, TLS or not
 * origin_tls.c     TLS itself
 * origin_server.c  one server: its addresses and its health
 */
#ifndef HTTP_ORIGIN_IMPL_H
#define HTTP_ORIGIN_IMPL_H

#include "http/origin.h"

#include "common/addr.h"
#include "http/origin_tls.h"

#define ORIGIN_MAX_SERVERS   CONFIG_MAX_ORIGINS
#define ORIGIN_MAX_ADDRESSES 8
#define ORIGIN_READ_BYTES    65536
#define ORIGIN_PLAIN_BYTES   16384

struct origin_server {
    struct origin *origin;
    unsigned number;
    const char *url; /* as configured, for the log */
    char host[ADDR_HOST_MAX];
    uint16_t port;
    bool is_unix, literal, tls;
    const char *tls_name; /* whom its certificate is for */
    struct addr addresses[ORIGIN_MAX_ADDRESSES];
    uint64_t failed_ms[ORIGIN_MAX_ADDRESSES]; /* when no connection to it was made; 0 = since then one was */
    unsigned n_addresses, next_address;
    uv_getaddrinfo_t lookup;
    bool looking;
    uint64_t looked_ms;  /* the last look-up that succeeded */
    struct list waiting; /* exchanges that wait for the first one */
    struct list idle;    /* connections, the last used in front */
    struct list busy;
    unsigned n_idle, n_busy;
    struct health *health;
    /* Active checks. */
    struct origin_exchange check;
    struct buf check_head;
    bool checking, check_well;
};

struct origin {
    uv_loop_t *loop;
    const struct config_route *route;
    struct http1_limits limits;
    struct origin_server servers[ORIGIN_MAX_SERVERS];
    unsigned n_servers, turn;
    uv_timer_t timer; /* time limits, look-ups, checks */
    struct origin_shared shared;
    struct origin_tls_context *tls; /* NULL: no server speaks it */
    unsigned handles;               /* open: what the memory waits for */
    bool closing;
    char scratch[ORIGIN_READ_BYTES];
    char plain[ORIGIN_PLAIN_BYTES]; /* decrypted */
};

union origin_handle {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
};

struct origin_conn {
    struct list link; /* server->idle or server->busy */
    struct origin_server *server;
    struct origin_exchange *exchange; /* NULL: idle */
    union origin_handle io;
    uv_connect_t connect;
    const struct addr *addr; /* one of the server's */
    unsigned left;           /* of its other addresses, to be tried if this one fails */
    struct origin_tls *tls; /* NULL: plain */
    bool secured;           /* its handshake is over */
    struct http1_reply_parser *parser;
    uint64_t deadline_ms; /* of what is waited for now */
    const char *waits_for;
    uint64_t tunnel_ms; /* it carries another protocol, which may be silent for so long; 0 = not */
    size_t unsent;      /* given to libuv and not written */
    bool connected, reused, reading, closing;
    bool late; /* past its deadline at the last look */
};

/* origin_server.c */
int origin_server_init(struct origin_server *server, struct origin *origin, const char *url,
                       struct errmsg *msg) MUST_CHECK;
/* Take the server for the exchange (health_take()). False: it is out, or being tried. */
bool origin_server_take(struct origin_server *server, struct origin_exchange *exchange);
void origin_server_good(struct origin_server *server);
void origin_server_bad(struct origin_server *server, const char *why);
/* Open exchanges, of all workers. */
unsigned origin_server_busy(const struct origin_server *server);
/* One more, or one less, of this worker. */
void origin_server_count(struct origin_server *server, bool more);
/* The next address to try: in turn, leaving out those that failed within the route's fail_timeout
 * while there are others. NULL: none is known. */
const struct addr *origin_server_address(struct origin_server *server);
/* Whether a connection to it was made. */
void origin_server_reached(struct origin_server *server, const struct addr *addr, bool reached);
/* Look-ups and checks that are due. */
void origin_server_tick(struct origin_server *server, uint64_t now_ms);
void origin_server_look(struct origin_server *server);

/* origin_conn.c. Send the exchange over an idle or a new connection. */
int origin_conn_send(struct origin_server *server, struct origin_exchange *exchange) MUST_CHECK;
void origin_conn_close(struct origin_conn *conn);
void origin_conn_read(struct origin_conn *conn, bool on);
size_t origin_conn_write(struct origin_conn *conn, struct slice bytes);
/* What its stream says: it can be used; bytes; its end; a failure; everything was sent. */
enum origin_stream_end { STREAM_ENDED, STREAM_CUT, STREAM_BROKEN };
void origin_conn_ready(struct origin_conn *conn);
void origin_conn_take(struct origin_conn *conn, struct slice input);
void origin_conn_ended(struct origin_conn *conn, enum origin_stream_end how);
void origin_conn_failed(struct origin_conn *conn, int err, const char *why);
void origin_conn_drained(struct origin_conn *conn);
/* Connections whose time is over. */
void origin_conn_check(struct origin_server *server, uint64_t now_ms);

/* origin_stream.c. Before the handle is opened, and when it is closed. */
int origin_stream_init(struct origin_conn *conn) MUST_CHECK;
void origin_stream_fini(struct origin_conn *conn);
/* The connection stands: origin_conn_ready() follows, at once or after a handshake. */
void origin_stream_start(struct origin_conn *conn);
void origin_stream_read(struct origin_conn *conn, bool on);
/* Returns the bytes not sent yet. */
size_t origin_stream_write(struct origin_conn *conn, struct slice bytes);

/* origin.c. An exchange failed before or within its response: try again or end it. */
void origin_failed(struct origin_exchange *exchange, int err, const char *why);
void origin_done(struct origin_exchange *exchange);
/* Those that waited for a look-up. */
void origin_go_on(struct origin_server *server);
void origin_handle_closed(struct origin *origin);

#endif
