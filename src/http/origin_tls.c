#include "http/origin_tls.h"

#include "common/addr.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* One record's content, more or less: what is read from the stream at once. */
#define OUTPUT_BYTES 16384

struct origin_tls_context {
    SSL_CTX *ssl;
    bool verify;
};

struct origin_tls {
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    const char *error;
};

static const unsigned char alpn[] = "\x08http/1.1";

static int set_authorities(SSL_CTX *ssl, const struct config_route *route, struct errmsg *msg)
{
    if (route->tls_ca_file[0] == '\0')
        return SSL_CTX_set_default_verify_paths(ssl) == 1
                   ? ERR_OK
                   : err_set(msg, ERR_INVALID, "the system has no certificate authorities");
    if (SSL_CTX_load_verify_locations(ssl, route->tls_ca_file, NULL) == 1)
        return ERR_OK;
    return err_set(msg, ERR_INVALID, "%s has no certificates of authorities (PEM): %s",
                   route->tls_ca_file, ERR_reason_error_string(ERR_peek_error()));
}

int origin_tls_context_create(const struct config_route *route, struct origin_tls_context **out,
                              struct errmsg *msg)
{
    struct origin_tls_context *context = calloc(1, sizeof(*context));
    int status = ERR_OK;

    if (context != NULL)
        context->ssl = SSL_CTX_new(TLS_client_method());
    if (context == NULL || context->ssl == NULL) {
        free(context);
        return err_set(msg, ERR_NOMEM, "no memory for TLS");
    }
    context->verify = route->tls_verify;
    ERR_clear_error();
    SSL_CTX_set_min_proto_version(context->ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(context->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(context->ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context->ssl, route->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    /* 0 is success: the one function of OpenSSL's that says it so. */
    if (SSL_CTX_set_alpn_protos(context->ssl, alpn, sizeof(alpn) - 1) != 0)
        status = err_set(msg, ERR_NOMEM, "no memory for TLS");
    if (status == ERR_OK && route->tls_verify)
        status = set_authorities(context->ssl, route, msg);
    if (status != ERR_OK) {
        origin_tls_context_destroy(context);
        return status;
    }
    *out = context;
    return ERR_OK;
}

void origin_tls_context_destroy(struct origin_tls_context *context)
{
    if (context == NULL)
        return;
    SSL_CTX_free(context->ssl);
    free(context);
}

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Whom we mean: told to the server, and asked of its certificate. */
static bool set_name(struct origin_tls *tls, const char *name, bool verify)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(tls->ssl);

    if (is_address(name))
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(tls->ssl, name) == 1 &&
           (!verify || SSL_set1_host(tls->ssl, name) == 1);
}

struct origin_tls *origin_tls_create(struct origin_tls_context *context, const char *name)
{
    struct origin_tls *tls = calloc(1, sizeof(*tls));

    if (tls == NULL)
        return NULL;
    tls->ssl = SSL_new(context->ssl);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        SSL_free(tls->ssl);
        free(tls);
        return NULL;
    }
    /* Empty is "not yet", never an end: that comes from the socket. */
    BIO_set_mem_eof_return(tls->in, -1);
    SSL_set_bio(tls->ssl, tls->in, tls->out);
    SSL_set_connect_state(tls->ssl);
    if (set_name(tls, name, context->verify))
        return tls;
    origin_tls_destroy(tls);
    return NULL;
}

void origin_tls_destroy(struct origin_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

int origin_tls_feed(struct origin_tls *tls, struct slice bytes)
{
    return BIO_write(tls->in, bytes.data, (int)bytes.len) == (int)bytes.len ? ERR_OK : ERR_NOMEM;
}

static enum origin_tls_result failed(struct origin_tls *tls)
{
    long verdict = SSL_get_verify_result(tls->ssl);
    unsigned long error = ERR_peek_error();

    if (verdict != X509_V_OK)
        tls->error = X509_verify_cert_error_string(verdict);
    else if (error != 0 && ERR_reason_error_string(error) != NULL)
        tls->error = ERR_reason_error_string(error);
    else
        tls->error = "TLS failed";
    return ORIGIN_TLS_FAILED;
}

/* What a call that returned so says. */
static enum origin_tls_result result_of(struct origin_tls *tls, int returned)
{
    switch (SSL_get_error(tls->ssl, returned)) {
    case SSL_ERROR_NONE:
        return ORIGIN_TLS_OK;
    case SSL_ERROR_WANT_READ:
        return ORIGIN_TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return ORIGIN_TLS_END;
    default:
        return failed(tls);
    }
}

enum origin_tls_result origin_tls_handshake(struct origin_tls *tls)
{
    ERR_clear_error();
    return result_of(tls, SSL_do_handshake(tls->ssl));
}

enum origin_tls_result origin_tls_read(struct origin_tls *tls, char *to, size_t size, size_t *n)
{
    *n = 0;
    ERR_clear_error();
    return result_of(tls, SSL_read_ex(tls->ssl, to, size, n));
}

enum origin_tls_result origin_tls_write(struct origin_tls *tls, struct slice bytes)
{
    size_t n;

    if (bytes.len == 0)
        return ORIGIN_TLS_OK;
    ERR_clear_error();
    /* All or nothing: partial writes are not switched on, and the memory takes everything. */
    return result_of(tls, SSL_write_ex(tls->ssl, bytes.data, bytes.len, &n));
}

int origin_tls_output(struct origin_tls *tls, struct buf *out)
{
    while (BIO_ctrl_pending(tls->out) > 0) {
        char *to = buf_reserve(out, OUTPUT_BYTES);
        int n = to == NULL ? 0 : BIO_read(tls->out, to, OUTPUT_BYTES);

        if (n <= 0)
            return ERR_NOMEM;
        buf_commit(out, (size_t)n);
    }
    return ERR_OK;
}

const char *origin_tls_error(const struct origin_tls *tls)
{
    return tls->error;
}
