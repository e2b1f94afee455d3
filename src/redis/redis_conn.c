#include "redis/redis_conn.h"

#include "common/units.h"
#include "redis/adapter.h"
#include "redis/reply_build.h"

#include <fcntl.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define HOST_MAX   256
#define PORT_MAX   8
#define RUN_ID_MAX 64
#define NAME       "cachetastic" /* what CLIENT LIST shows */

enum state { STATE_RESOLVE, STATE_CONNECT, STATE_LOGIN, STATE_READY, STATE_CLOSING };

/* The resolver cannot be stopped once it works, and may take longer than anybody waits: so its
 * request stands alone. */
struct resolution {
    uv_getaddrinfo_t request;
    struct redis_conn *conn; /* NULL: nobody waits any more */
};

struct redis_conn {
    uv_loop_t *loop;
    const struct config_redis *config;
    const struct redis_conn_events *events;
    void *owner;
    enum state state;
    uv_timer_t deadline;
    struct resolution *resolution; /* while the name is being resolved */
    struct addrinfo *addresses;    /* of the name; NULL for a unix socket */
    struct addrinfo *untried;      /* from here on */
    redisAsyncContext *context;    /* NULL while there is none */
    unsigned held;                 /* the timer and the adapters that still refer to this */
    struct reply_arena arena;
    char run_id[RUN_ID_MAX];
    int64_t client_id;
    int why; /* the end's reason, from STATE_CLOSING on */
    char text[256];
};

static void connect_next(struct redis_conn *conn);

/* --- the end --- */

static void release(struct redis_conn *conn)
{
    const struct redis_conn_events *events = conn->events;
    void *owner = conn->owner;
    int why = conn->why;
    char text[sizeof(conn->text)];

    if (--conn->held > 0)
        return;
    snprintf(text, sizeof(text), "%s", conn->text);
    if (conn->addresses != NULL)
        uv_freeaddrinfo(conn->addresses);
    reply_arena_fini(&conn->arena);
    free(conn);
    events->closed(owner, why, text);
}

static void on_deadline_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_adapter_gone(void *arg)
{
    release(arg);
}

void redis_conn_close(struct redis_conn *conn, int why, const char *text)
{
    redisAsyncContext *context = conn->context;

    if (conn->state == STATE_CLOSING)
        return;
    conn->state = STATE_CLOSING;
    conn->why = why;
    snprintf(conn->text, sizeof(conn->text), "%s", text);
    /* Inside a reply's callback hiredis waits with freeing until that has returned. */
    conn->context = NULL;
    if (context != NULL)
        redisAsyncFree(context);
    if (conn->resolution != NULL) {
        conn->resolution->conn = NULL;
        uv_cancel((uv_req_t *)&conn->resolution->request);
    }
    uv_close((uv_handle_t *)&conn->deadline, on_deadline_closed);
}

static void on_deadline(uv_timer_t *timer)
{
    struct redis_conn *conn = timer->data;
    char text[128];

    snprintf(text, sizeof(text), "no answer within connect_timeout (%llu ms)",
             (unsigned long long)conn->config->connect_timeout_ms);
    redis_conn_close(conn, ERR_TIMEOUT, text);
}

/* --- log in --- */

/* One command of the login and what its failure means. */
struct step {
    const char *name;
    bool required;
};

static const struct step step_auth = {"AUTH", true};
static const struct step step_setname = {"CLIENT SETNAME", false};
static const struct step step_id = {"CLIENT ID", false};
static const struct step step_info = {"INFO", false};
static const struct step step_select = {"SELECT", true};
static const struct step step_ping = {"PING", true};

/* "run_id:..." of INFO's lines. */
static void learn_run_id(struct redis_conn *conn, const redisReply *info)
{
    static const char name[] = "\nrun_id:";
    const char *at = info->type == REDIS_REPLY_STRING ? strstr(info->str, name) : NULL;
    size_t len = at == NULL ? 0 : strcspn(at + sizeof(name) - 1, "\r\n");

    if (len == 0 || len >= sizeof(conn->run_id))
        return;
    memcpy(conn->run_id, at + sizeof(name) - 1, len);
    conn->run_id[len] = '\0';
}

static void on_login_reply(redisAsyncContext *context, void *arg, void *privdata)
{
    struct redis_conn *conn = context->data;
    const redisReply *reply = arg;
    const struct step *step = privdata;
    char text[256];

    if (reply == NULL || conn->state != STATE_LOGIN)
        return;
    /* A user who may not PING has been answered all the same. */
    if (reply->type == REDIS_REPLY_ERROR && step->required &&
        !(step == &step_ping && strncmp(reply->str, "NOPERM", 6) == 0)) {
        snprintf(text, sizeof(text), "%s: %s", step->name, reply->str);
        redis_conn_close(conn, ERR_REMOTE, text);
        return;
    }
    if (step == &step_id && reply->type == REDIS_REPLY_INTEGER)
        conn->client_id = reply->integer;
    if (step == &step_info)
        learn_run_id(conn, reply);
    if (step != &step_ping)
        return;
    uv_timer_stop(&conn->deadline);
    conn->state = STATE_READY;
    conn->events->ready(conn->owner);
}

static int send_step(struct redis_conn *conn, const struct step *step, int argc, const char **argv)
{
    size_t lens[4];

    for (int i = 0; i < argc; i++)
        lens[i] = strlen(argv[i]);
    return redisAsyncCommandArgv(conn->context, on_login_reply, (void *)(uintptr_t)step, argc, argv,
                                 lens) == REDIS_OK
               ? ERR_OK
               : ERR_NOMEM;
}

static int send_auth(struct redis_conn *conn)
{
    const char *user = conn->config->user;
    const char *password = conn->config->password;

    if (password == NULL || password[0] == '\0')
        return ERR_OK;
    if (user == NULL || user[0] == '\0')
        return send_step(conn, &step_auth, 2, (const char *[]){"AUTH", password});
    return send_step(conn, &step_auth, 3, (const char *[]){"AUTH", user, password});
}

static int send_login(struct redis_conn *conn)
{
    char db[24];

    if (send_auth(conn) != ERR_OK ||
        send_step(conn, &step_setname, 3, (const char *[]){"CLIENT", "SETNAME", NAME}) != ERR_OK ||
        send_step(conn, &step_id, 2, (const char *[]){"CLIENT", "ID"}) != ERR_OK ||
        send_step(conn, &step_info, 2, (const char *[]){"INFO", "server"}) != ERR_OK)
        return ERR_NOMEM;
    snprintf(db, sizeof(db), "%lld", (long long)conn->config->db);
    if (conn->config->db != 0 &&
        send_step(conn, &step_select, 2, (const char *[]){"SELECT", db}) != ERR_OK)
        return ERR_NOMEM;
    return send_step(conn, &step_ping, 1, (const char *[]){"PING"});
}

/* --- connect --- */

static void on_connect(const redisAsyncContext *context, int status)
{
    struct redis_conn *conn = context->data;

    if (conn->state != STATE_CONNECT)
        return;
    if (status != REDIS_OK) {
        /* hiredis frees this context when we return. */
        conn->context = NULL;
        snprintf(conn->text, sizeof(conn->text), "%s", context->c.errstr);
        connect_next(conn);
        return;
    }
    conn->state = STATE_LOGIN;
    /* The context must not be freed in this callback, so a failure waits for the deadline. */
    if (send_login(conn) != ERR_OK)
        uv_timer_start(&conn->deadline, on_deadline, 0, 0);
}

static void on_disconnect(const redisAsyncContext *context, int status)
{
    struct redis_conn *conn = context->data;

    (void)status;
    if (conn->state == STATE_CLOSING)
        return;
    conn->context = NULL;
    redis_conn_close(conn, conn->state == STATE_READY ? ERR_LOST : ERR_DOWN,
                     context->c.err != 0 ? context->c.errstr : "closed");
}

/* Take over a new context; false when it has failed already (conn->text says why). */
static bool adopt(struct redis_conn *conn, redisAsyncContext *context)
{
    if (context == NULL) {
        snprintf(conn->text, sizeof(conn->text), "no memory");
        return false;
    }
    if (context->err != 0) {
        snprintf(conn->text, sizeof(conn->text), "%s", context->errstr);
        redisAsyncFree(context);
        return false;
    }
    if (fcntl(context->c.fd, F_SETFD, FD_CLOEXEC) != 0 ||
        adapter_attach(context, conn->loop, on_adapter_gone, conn) != ERR_OK) {
        snprintf(conn->text, sizeof(conn->text), "cannot watch the socket");
        redisAsyncFree(context);
        return false;
    }
    conn->held++;
    context->data = conn;
    conn->context = context;
    redisAsyncSetDisconnectCallback(context, on_disconnect);
    redisAsyncSetConnectCallback(context, on_connect);
    return true;
}

static redisAsyncContext *connect_to(const struct addrinfo *address)
{
    char host[HOST_MAX], port[PORT_MAX];

    if (getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return NULL;
    return redisAsyncConnect(host, atoi(port));
}

static void end_with_last_error(struct redis_conn *conn)
{
    char text[sizeof(conn->text)];

    snprintf(text, sizeof(text), "%s", conn->text);
    redis_conn_close(conn, ERR_DOWN, text);
}

static void connect_next(struct redis_conn *conn)
{
    conn->state = STATE_CONNECT;
    while (conn->untried != NULL) {
        const struct addrinfo *address = conn->untried;

        conn->untried = address->ai_next;
        if (adopt(conn, connect_to(address)))
            return;
    }
    end_with_last_error(conn);
}

/* --- the server's name --- */

/* "HOST:PORT" or "[IPv6]:PORT" in two; both are copied. */
static int split_server(const char *server, char host[HOST_MAX], char port[PORT_MAX])
{
    const char *colon = strrchr(server, ':');
    size_t len = colon == NULL ? 0 : (size_t)(colon - server);
    int64_t number;

    if (len == 0 || len >= HOST_MAX || strlen(colon + 1) >= PORT_MAX)
        return ERR_INVALID;
    if (units_parse_int(slice_cstr(colon + 1), &number) != ERR_OK || number < 1 || number > 65535)
        return ERR_INVALID;
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    if (server[0] == '[') {
        if (len < 3 || server[len - 1] != ']')
            return ERR_INVALID;
        server++;
        len -= 2;
    } else if (memchr(server, ':', len) != NULL) {
        return ERR_INVALID;
    }
    memcpy(host, server, len);
    host[len] = '\0';
    return ERR_OK;
}

static const char *unix_path(const char *server)
{
    return strncmp(server, "unix:", 5) == 0 ? server + 5 : NULL;
}

int redis_conn_check_server(const char *server, struct errmsg *msg)
{
    char host[HOST_MAX], port[PORT_MAX];
    const char *path = unix_path(server);

    if (path != NULL ? path[0] != '\0' && strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path)
                     : split_server(server, host, port) == ERR_OK)
        return ERR_OK;
    return err_set(msg, ERR_INVALID,
                   "redis.server \"%s\" is not HOST:PORT, [IPv6]:PORT or unix:PATH", server);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    struct resolution *resolution = request->data;
    struct redis_conn *conn = resolution->conn;

    free(resolution);
    if (conn == NULL) {
        uv_freeaddrinfo(addresses);
        return;
    }
    conn->resolution = NULL;
    conn->addresses = addresses;
    conn->untried = addresses;
    if (status != 0)
        snprintf(conn->text, sizeof(conn->text), "cannot resolve the name: %s",
                 uv_strerror(status));
    connect_next(conn);
}

static int resolve(struct redis_conn *conn, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct resolution *resolution = malloc(sizeof(*resolution));
    int status;

    if (resolution == NULL)
        return UV_ENOMEM;
    resolution->conn = conn;
    resolution->request.data = resolution;
    status = uv_getaddrinfo(conn->loop, &resolution->request, on_resolved, host, port, &hints);
    if (status != 0)
        free(resolution);
    else
        conn->resolution = resolution;
    return status;
}

/* Numbers are understood at once; for names a thread of the loop's pool asks the resolver. */
static void start_tcp(struct redis_conn *conn)
{
    const struct addrinfo numbers = {.ai_socktype = SOCK_STREAM,
                                     .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    char host[HOST_MAX], port[PORT_MAX];
    int status = UV_EINVAL;

    if (split_server(conn->config->server, host, port) == ERR_OK) {
        if (getaddrinfo(host, port, &numbers, &conn->addresses) == 0) {
            conn->untried = conn->addresses;
            connect_next(conn);
            return;
        }
        status = resolve(conn, host, port);
    }
    if (status != 0)
        redis_conn_close(conn, ERR_DOWN, uv_strerror(status));
}

/* --- the interface --- */

struct redis_conn *redis_conn_open(uv_loop_t *loop, const struct config_redis *config,
                                   const struct redis_conn_events *events, void *owner)
{
    struct redis_conn *conn = calloc(1, sizeof(*conn));
    const char *path = unix_path(config->server);

    if (conn == NULL)
        return NULL;
    conn->loop = loop;
    conn->config = config;
    conn->events = events;
    conn->owner = owner;
    conn->held = 1;
    uv_timer_init(loop, &conn->deadline);
    conn->deadline.data = conn;
    uv_timer_start(&conn->deadline, on_deadline, config->connect_timeout_ms, 0);
    if (path == NULL) {
        start_tcp(conn);
        return conn;
    }
    conn->state = STATE_CONNECT;
    if (!adopt(conn, redisAsyncConnectUnix(path)))
        end_with_last_error(conn);
    return conn;
}

struct slice redis_conn_run_id(const struct redis_conn *conn)
{
    return slice_cstr(conn->run_id);
}

int64_t redis_conn_client_id(const struct redis_conn *conn)
{
    return conn->client_id;
}

bool redis_conn_is_ready(const struct redis_conn *conn)
{
    return conn->state == STATE_READY;
}

static void on_reply(redisAsyncContext *context, void *arg, void *privdata)
{
    struct redis_conn *conn = context->data;
    struct reply reply;

    (void)privdata;
    /* NULL: the connection ends, and the owner will hear of that once. */
    if (arg == NULL || conn->state != STATE_READY)
        return;
    if (reply_build(&conn->arena, arg, &reply) != ERR_OK)
        redis_conn_close(conn, ERR_LOST, "no memory for a reply");
    else
        conn->events->reply(conn->owner, &reply);
}

int redis_conn_send(struct redis_conn *conn, const char *bytes, size_t len)
{
    if (conn->state != STATE_READY ||
        redisAsyncFormattedCommand(conn->context, on_reply, NULL, bytes, len) != REDIS_OK)
        return ERR_DOWN;
    return ERR_OK;
}
