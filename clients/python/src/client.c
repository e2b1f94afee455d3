/* The operations on a cache, each a call of the library. */
#include "module.h"

#include <string.h>

/* ---- handles ---- */

static const char *text_or_null(PyObject *bytes)
{
    return bytes == NULL || bytes == Py_None ? NULL : PyBytes_AS_STRING(bytes);
}

cachetastic *client_take(struct client *self)
{
    struct cachetastic_options options = {
        .socket = text_or_null(self->socket),
        .cache = text_or_null(self->cache),
        .user = text_or_null(self->user),
        .password = text_or_null(self->password),
        .timeout_ms = self->timeout_ms,
        .no_direct = self->no_direct,
    };
    cachetastic *handle;

    if (self->n_idle > 0)
        return self->idle[--self->n_idle];
    if (!self->open) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was not called");
        return NULL;
    }
    if (cachetastic_open(&options, &handle) == CACHETASTIC_OK)
        return handle;
    PyErr_NoMemory();
    return NULL;
}

void client_give(struct client *self, cachetastic *handle)
{
    if (self->n_idle < IDLE_MAX)
        self->idle[self->n_idle++] = handle;
    else
        cachetastic_close(handle);
}

static void close_idle(struct client *self)
{
    while (self->n_idle > 0)
        cachetastic_close(self->idle[--self->n_idle]);
}

/* ---- arguments ---- */

bool client_text(PyObject *object, struct cachetastic_bytes *out)
{
    Py_ssize_t len;

    if (PyUnicode_Check(object)) {
        out->data = PyUnicode_AsUTF8AndSize(object, &len);
        if (out->data == NULL)
            return false;
        out->len = (size_t)len;
        return true;
    }
    if (PyBytes_Check(object)) {
        *out = (struct cachetastic_bytes){PyBytes_AS_STRING(object),
                                          (size_t)PyBytes_GET_SIZE(object)};
        return true;
    }
    PyErr_Format(PyExc_TypeError, "str or bytes expected, not %.100s", Py_TYPE(object)->tp_name);
    return false;
}

bool texts_init(struct texts *texts, PyObject *iterable)
{
    *texts = (struct texts){0};
    if (PyUnicode_Check(iterable) || PyBytes_Check(iterable)) {
        PyErr_SetString(PyExc_TypeError, "several str or bytes expected, not one");
        return false;
    }
    texts->objects = PySequence_Tuple(iterable);
    if (texts->objects == NULL)
        return false;
    texts->n = (size_t)PyTuple_GET_SIZE(texts->objects);
    texts->bytes = PyMem_Calloc(texts->n + 1, sizeof(*texts->bytes));
    if (texts->bytes == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (size_t i = 0; i < texts->n; i++)
        if (!client_text(PyTuple_GET_ITEM(texts->objects, (Py_ssize_t)i), &texts->bytes[i]))
            return false;
    return true;
}

void texts_fini(struct texts *texts)
{
    PyMem_Free(texts->bytes);
    Py_CLEAR(texts->objects);
}

/* What a call came to: True for OK, False for MISS, or raised. The handle goes back. */
static PyObject *answer(struct client *self, cachetastic *handle, enum cachetastic_status status)
{
    if (status < 0)
        module_raise(Py_TYPE(self), handle, status);
    client_give(self, handle);
    return status < 0 ? NULL : PyBool_FromLong(status == CACHETASTIC_OK);
}

/* ---- reading ---- */

/* The value, or instead where there is none. The handle goes back once the bytes are an object. */
static PyObject *value_or(struct client *self, cachetastic *handle, enum cachetastic_status status,
                          struct cachetastic_bytes value, PyObject *instead)
{
    PyObject *result = NULL;

    if (status == CACHETASTIC_OK)
        result = decode(self, value);
    else if (status == CACHETASTIC_MISS)
        result = Py_NewRef(instead);
    else
        module_raise(Py_TYPE(self), handle, status);
    client_give(self, handle);
    return result;
}

/* get(key, default=None), by position or by name. */
static bool get_arguments(PyObject *const *args, Py_ssize_t n, PyObject *names, PyObject *found[2])
{
    static const char *const words[] = {"key", "default"};
    Py_ssize_t n_names = names == NULL ? 0 : PyTuple_GET_SIZE(names);

    if (n > 2) {
        PyErr_Format(PyExc_TypeError, "get() takes at most 2 arguments (%zd given)", n);
        return false;
    }
    for (Py_ssize_t i = 0; i < n; i++)
        found[i] = args[i];
    for (Py_ssize_t i = 0; i < n_names; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        int at = 0;

        while (at < 2 && PyUnicode_CompareWithASCIIString(name, words[at]) != 0)
            at++;
        if (at == 2 || at < n) {
            PyErr_Format(PyExc_TypeError, "get() got an unexpected argument '%U'", name);
            return false;
        }
        found[at] = args[n + i];
    }
    if (found[0] != NULL)
        return true;
    PyErr_SetString(PyExc_TypeError, "get() needs a key");
    return false;
}

PyDoc_STRVAR(get_doc, "get(key, default=None)\n\n"
                      "The value of a key, or default where there is none.");

static PyObject *client_get(struct client *self, PyObject *const *args, Py_ssize_t n,
                            PyObject *names)
{
    PyObject *found[2] = {NULL, Py_None};
    struct cachetastic_bytes key, value;
    enum cachetastic_status status;
    cachetastic *handle;

    if (!get_arguments(args, n, names, found) || !client_text(found[0], &key) ||
        (handle = client_take(self)) == NULL)
        return NULL;
    status = cachetastic_peek(handle, key.data, key.len, &value);
    if (status == CACHETASTIC_BUSY) {
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_get(handle, key.data, key.len, &value);
        Py_END_ALLOW_THREADS
    }
    return value_or(self, handle, status, value, found[1]);
}

PyDoc_STRVAR(peek_doc, "_peek(key, default, busy)\n\n"
                       "get() without a wait; busy: only get() can tell.");

static PyObject *client_peek(struct client *self, PyObject *args)
{
    PyObject *name, *missing, *busy;
    struct cachetastic_bytes key, value;
    enum cachetastic_status status;
    cachetastic *handle;

    if (!PyArg_ParseTuple(args, "OOO:_peek", &name, &missing, &busy) || !client_text(name, &key) ||
        (handle = client_take(self)) == NULL)
        return NULL;
    status = cachetastic_peek(handle, key.data, key.len, &value);
    if (status == CACHETASTIC_BUSY)
        return value_or(self, handle, CACHETASTIC_MISS, value, busy);
    return value_or(self, handle, status, value, missing);
}

PyDoc_STRVAR(has_doc, "has(key) -> bool\n\nWhether a key is there.");

static PyObject *client_has(struct client *self, PyObject *name)
{
    struct cachetastic_bytes key, value;
    enum cachetastic_status status;
    cachetastic *handle;

    if (!client_text(name, &key) || (handle = client_take(self)) == NULL)
        return NULL;
    status = cachetastic_peek(handle, key.data, key.len, &value);
    if (status == CACHETASTIC_BUSY) {
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_has(handle, key.data, key.len);
        Py_END_ALLOW_THREADS
    }
    return answer(self, handle, status);
}

PyDoc_STRVAR(peek_has_doc, "_peek_has(key)\n\nhas() without a wait; None: only has() can tell.");

static PyObject *client_peek_has(struct client *self, PyObject *name)
{
    struct cachetastic_bytes key, value;
    enum cachetastic_status status;
    cachetastic *handle;

    if (!client_text(name, &key) || (handle = client_take(self)) == NULL)
        return NULL;
    status = cachetastic_peek(handle, key.data, key.len, &value);
    if (status != CACHETASTIC_BUSY)
        return answer(self, handle, status);
    client_give(self, handle);
    Py_RETURN_NONE;
}

static PyObject *found_values(struct client *self, const struct texts *keys,
                              const struct cachetastic_bytes *values)
{
    PyObject *found = PyDict_New();

    for (size_t i = 0; i < keys->n && found != NULL; i++) {
        PyObject *object = values[i].data == NULL ? NULL : decode(self, values[i]);

        if (values[i].data != NULL &&
            (object == NULL ||
             PyDict_SetItem(found, PyTuple_GET_ITEM(keys->objects, (Py_ssize_t)i), object) < 0))
            Py_CLEAR(found);
        Py_XDECREF(object);
    }
    return found;
}

static PyObject *read_keys(struct client *self, const struct texts *keys)
{
    struct cachetastic_bytes *values = PyMem_Calloc(keys->n + 1, sizeof(*values));
    cachetastic *handle = values == NULL ? NULL : client_take(self);
    enum cachetastic_status status;
    PyObject *found = NULL;

    if (values == NULL)
        return PyErr_NoMemory();
    if (handle != NULL) {
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_get_many(handle, keys->bytes, keys->n, values);
        Py_END_ALLOW_THREADS
        found = status == CACHETASTIC_OK ? found_values(self, keys, values)
                                         : module_raise(Py_TYPE(self), handle, status);
        client_give(self, handle);
    }
    PyMem_Free(values);
    return found;
}

PyDoc_STRVAR(get_many_doc, "get_many(keys) -> dict\n\n"
                           "The values of those keys that are there, in one pass.");

static PyObject *client_get_many(struct client *self, PyObject *iterable)
{
    struct texts keys;
    PyObject *found = texts_init(&keys, iterable) ? read_keys(self, &keys) : NULL;

    texts_fini(&keys);
    return found;
}

PyDoc_STRVAR(ttl_doc, "_ttl(key)\n\nMilliseconds left, 0 for no expiry, None for no such key.");

static PyObject *client_ttl(struct client *self, PyObject *name)
{
    struct cachetastic_bytes key;
    enum cachetastic_status status;
    cachetastic *handle;
    uint64_t left = 0;

    if (!client_text(name, &key) || (handle = client_take(self)) == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = cachetastic_ttl(handle, key.data, key.len, &left);
    Py_END_ALLOW_THREADS
    if (status < 0)
        module_raise(Py_TYPE(self), handle, status);
    client_give(self, handle);
    if (status < 0)
        return NULL;
    return status == CACHETASTIC_MISS ? Py_NewRef(Py_None) : PyLong_FromUnsignedLongLong(left);
}

PyDoc_STRVAR(stats_doc, "_stats() -> bytes\n\nThe cache's figures, as JSON.");

static PyObject *client_stats(struct client *self, PyObject *unused)
{
    cachetastic *handle = client_take(self);
    struct cachetastic_bytes json;
    enum cachetastic_status status;
    PyObject *result = NULL;

    (void)unused;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = cachetastic_stats(handle, &json);
    Py_END_ALLOW_THREADS
    if (status == CACHETASTIC_OK)
        result = PyBytes_FromStringAndSize(json.data, (Py_ssize_t)json.len);
    else
        module_raise(Py_TYPE(self), handle, status);
    client_give(self, handle);
    return result;
}

/* ---- writing ---- */

static void set_how(struct cachetastic_put *how, unsigned long long ttl, unsigned long long stale,
                    const struct texts *tags, int condition)
{
    *how = (struct cachetastic_put){
        .ttl_ms = ttl,
        .stale_ms = stale,
        .tags = tags->bytes,
        .n_tags = tags->n,
        .if_absent = condition < 0,
        .if_present = condition > 0,
    };
}

PyDoc_STRVAR(put_doc, "_put(key, data, ttl_ms, tags, condition) -> bool\n\n"
                      "Store bytes. condition: -1 if absent, 1 if present, 0 always.");

static PyObject *client_put(struct client *self, PyObject *args)
{
    PyObject *name, *labels, *result = NULL;
    struct texts tags = {0};
    struct cachetastic_bytes key;
    struct cachetastic_put how;
    unsigned long long ttl;
    cachetastic *handle;
    Py_buffer data;
    int condition;

    if (!PyArg_ParseTuple(args, "Oy*KOi:_put", &name, &data, &ttl, &labels, &condition))
        return NULL;
    if (client_text(name, &key) && texts_init(&tags, labels) &&
        (handle = client_take(self)) != NULL) {
        enum cachetastic_status status;

        set_how(&how, ttl, 0, &tags, condition);
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_put(handle, key.data, key.len, data.buf, (size_t)data.len, &how);
        Py_END_ALLOW_THREADS
        result = answer(self, handle, status);
    }
    texts_fini(&tags);
    PyBuffer_Release(&data);
    return result;
}

PyDoc_STRVAR(put_many_doc, "_put_many(keys, values, ttl_ms, tags)\n\nStore bytes under each key.");

static PyObject *client_put_many(struct client *self, PyObject *args)
{
    struct texts keys = {0}, values = {0}, tags = {0};
    PyObject *names, *contents, *labels, *result = NULL;
    struct cachetastic_put how;
    unsigned long long ttl;
    cachetastic *handle;

    if (!PyArg_ParseTuple(args, "OOKO:_put_many", &names, &contents, &ttl, &labels))
        return NULL;
    if (texts_init(&keys, names) && texts_init(&values, contents) && texts_init(&tags, labels)) {
        if (keys.n != values.n) {
            PyErr_SetString(PyExc_ValueError, "as many values as keys are needed");
        } else if ((handle = client_take(self)) != NULL) {
            enum cachetastic_status status;

            set_how(&how, ttl, 0, &tags, 0);
            Py_BEGIN_ALLOW_THREADS
            status = cachetastic_put_many(handle, keys.bytes, values.bytes, keys.n, &how);
            Py_END_ALLOW_THREADS
            result = answer(self, handle, status);
        }
    }
    texts_fini(&keys);
    texts_fini(&values);
    texts_fini(&tags);
    return result;
}

/* A call of the library that takes one text, is told nothing but that, and may wait. */
typedef enum cachetastic_status text_call(cachetastic *handle, const char *text, size_t len);

static PyObject *call_with_text(struct client *self, PyObject *object, text_call *call)
{
    struct cachetastic_bytes text;
    enum cachetastic_status status;
    cachetastic *handle;

    if (!client_text(object, &text) || (handle = client_take(self)) == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = call(handle, text.data, text.len);
    Py_END_ALLOW_THREADS
    return answer(self, handle, status);
}

PyDoc_STRVAR(delete_doc, "delete(key) -> bool\n\nRemove a key; whether it was there.");

static PyObject *client_delete(struct client *self, PyObject *name)
{
    return call_with_text(self, name, cachetastic_delete);
}

PyDoc_STRVAR(delete_many_doc, "delete_many(keys) -> int\n\nRemove keys; how many were there.");

static PyObject *client_delete_many(struct client *self, PyObject *iterable)
{
    PyObject *result = NULL;
    struct texts keys;
    cachetastic *handle;

    if (texts_init(&keys, iterable) && (handle = client_take(self)) != NULL) {
        enum cachetastic_status status;
        uint64_t removed;

        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_delete_many(handle, keys.bytes, keys.n, &removed);
        Py_END_ALLOW_THREADS
        result = status == CACHETASTIC_OK ? PyLong_FromUnsignedLongLong(removed)
                                          : module_raise(Py_TYPE(self), handle, status);
        client_give(self, handle);
    }
    texts_fini(&keys);
    return result;
}

PyDoc_STRVAR(touch_doc, "_touch(key, ttl_ms) -> bool\n\n"
                        "Let a key expire in ttl_ms, 0 = not at all; whether it is there.");

static PyObject *client_touch(struct client *self, PyObject *args)
{
    struct cachetastic_bytes key;
    enum cachetastic_status status;
    unsigned long long ttl;
    cachetastic *handle;
    PyObject *name;

    if (!PyArg_ParseTuple(args, "OK:_touch", &name, &ttl) || !client_text(name, &key) ||
        (handle = client_take(self)) == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = cachetastic_touch(handle, key.data, key.len, ttl);
    Py_END_ALLOW_THREADS
    return answer(self, handle, status);
}

PyDoc_STRVAR(clear_doc, "clear()\n\nRemove everything in this cache; nothing of another.");

static PyObject *client_clear(struct client *self, PyObject *unused)
{
    cachetastic *handle = client_take(self);
    enum cachetastic_status status;

    (void)unused;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = cachetastic_clear(handle);
    Py_END_ALLOW_THREADS
    return answer(self, handle, status);
}

PyDoc_STRVAR(delete_pattern_doc,
             "delete_pattern(pattern)\n\n"
             "Remove the keys that match a glob: *, ?, [a-z], and \\ before one of these.");

static PyObject *client_delete_pattern(struct client *self, PyObject *glob)
{
    return call_with_text(self, glob, cachetastic_delete_pattern);
}

PyDoc_STRVAR(invalidate_tags_doc, "invalidate_tags(tags)\n\n"
                                  "Remove every entry that carries one of the tags.");

static PyObject *client_invalidate_tags(struct client *self, PyObject *iterable)
{
    PyObject *result = NULL;
    struct texts tags;
    cachetastic *handle;

    if (texts_init(&tags, iterable) && (handle = client_take(self)) != NULL) {
        enum cachetastic_status status;

        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_invalidate_tags(handle, tags.bytes, tags.n);
        Py_END_ALLOW_THREADS
        result = answer(self, handle, status);
    }
    texts_fini(&tags);
    return result;
}

PyDoc_STRVAR(incr_doc, "_incr(key, by) -> int\n\nAdd to a number, which begins at 0.");

static PyObject *client_incr(struct client *self, PyObject *args)
{
    struct cachetastic_bytes key;
    enum cachetastic_status status;
    cachetastic *handle;
    PyObject *name;
    long long by;
    int64_t sum;

    if (!PyArg_ParseTuple(args, "OL:_incr", &name, &by) || !client_text(name, &key) ||
        (handle = client_take(self)) == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = cachetastic_increment(handle, key.data, key.len, by, &sum);
    Py_END_ALLOW_THREADS
    if (status != CACHETASTIC_OK)
        module_raise(Py_TYPE(self), handle, status);
    client_give(self, handle);
    return status == CACHETASTIC_OK ? PyLong_FromLongLong(sum) : NULL;
}

/* ---- fetch ---- */

/* (state, value, lease): value: there is one, and no lease; compute: the lease is the caller's,
 * value is the older one or None; busy; wait: only asking without peek can tell, value is True where
 * refresh must be said then. */
enum fetch_state { FETCH_VALUE, FETCH_COMPUTE, FETCH_BUSY, FETCH_WAIT };

static PyObject *fetch_result(enum fetch_state state, PyObject *value, PyObject *lease)
{
    PyObject *result =
        value == NULL || lease == NULL ? NULL : Py_BuildValue("(iOO)", (int)state, value, lease);

    Py_XDECREF(value);
    Py_XDECREF(lease);
    return result;
}

static PyObject *begun(struct client *self, cachetastic *handle, PyObject *key,
                       enum cachetastic_status status, const struct cachetastic_fetched *got)
{
    PyObject *value = NULL;

    if (status == CACHETASTIC_OK)
        value = decode(self, got->value);
    else if (status == CACHETASTIC_MISS || status == CACHETASTIC_BUSY)
        value = Py_NewRef(Py_None);
    else
        module_raise(Py_TYPE(self), handle, status);
    if (got->token != 0 && value != NULL)
        return fetch_result(FETCH_COMPUTE, value, lease_create(self, handle, key, got->token));
    if (got->token != 0)
        cachetastic_close(handle); /* a value that cannot be read: the lease goes to the next */
    else
        client_give(self, handle);
    return fetch_result(status == CACHETASTIC_BUSY ? FETCH_BUSY : FETCH_VALUE, value,
                        Py_NewRef(Py_None));
}

PyDoc_STRVAR(begin_doc,
             "_begin(key, wait_ms, lease_ms, stale_ms, beta, refresh, peek) -> (state, value, lease)");

static PyObject *client_begin(struct client *self, PyObject *args)
{
    unsigned long long wait, lease, stale;
    struct cachetastic_fetched got = {0};
    struct cachetastic_fetch how = {0};
    enum cachetastic_status status;
    struct cachetastic_bytes key;
    int refresh, peek;
    cachetastic *handle;
    PyObject *name;
    bool early = false;

    if (!PyArg_ParseTuple(args, "OKKKdpp:_begin", &name, &wait, &lease, &stale, &how.beta, &refresh,
                          &peek) ||
        !client_text(name, &key) || (handle = client_take(self)) == NULL)
        return NULL;
    how.wait_ms = wait;
    how.no_wait = wait == 0;
    how.lease_ms = lease;
    how.stale_ms = stale;
    status = refresh ? CACHETASTIC_BUSY
                     : cachetastic_fetch_peek(handle, key.data, key.len, &how, &got.value, &early);
    if (status == CACHETASTIC_BUSY && peek) {
        client_give(self, handle);
        return fetch_result(FETCH_WAIT, PyBool_FromLong(early), Py_NewRef(Py_None));
    }
    if (status == CACHETASTIC_BUSY) {
        how.refresh = early || refresh;
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_fetch_begin(handle, key.data, key.len, &how, &got);
        Py_END_ALLOW_THREADS
    }
    return begun(self, handle, name, status, &got);
}

/* ---- the handle itself ---- */

PyDoc_STRVAR(direct_doc, "direct()\n\n"
                         "None where reads are answered from shared memory, else why they are not.");

static PyObject *client_direct(struct client *self, PyObject *unused)
{
    cachetastic *handle = client_take(self);
    PyObject *result;
    const char *why;

    (void)unused;
    if (handle == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    why = cachetastic_direct(handle);
    Py_END_ALLOW_THREADS
    result = why == NULL ? Py_NewRef(Py_None) : PyUnicode_DecodeUTF8(why, (Py_ssize_t)strlen(why),
                                                                     "replace");
    client_give(self, handle);
    return result;
}

PyDoc_STRVAR(counts_doc, "counts() -> dict\n\n"
                         "What the connections that are open and idle did: direct_hits, direct_misses, "
                         "calls, connects, refused_maps.");

static PyObject *client_counts(struct client *self, PyObject *unused)
{
    struct cachetastic_counts sum = {0};

    (void)unused;
    for (int i = 0; i < self->n_idle; i++) {
        struct cachetastic_counts one;

        cachetastic_counts(self->idle[i], &one);
        sum.direct_hits += one.direct_hits;
        sum.direct_misses += one.direct_misses;
        sum.calls += one.calls;
        sum.connects += one.connects;
        sum.refused_maps += one.refused_maps;
    }
    return Py_BuildValue("{sKsKsKsKsK}", "direct_hits", (unsigned long long)sum.direct_hits,
                         "direct_misses", (unsigned long long)sum.direct_misses, "calls",
                         (unsigned long long)sum.calls, "connects",
                         (unsigned long long)sum.connects, "refused_maps",
                         (unsigned long long)sum.refused_maps);
}

PyDoc_STRVAR(close_doc, "close()\n\n"
                        "Close the connections. The next call opens one anew.");

static PyObject *client_close(struct client *self, PyObject *unused)
{
    (void)unused;
    close_idle(self);
    Py_RETURN_NONE;
}

/* ---- the type ---- */

/* bytes without a NUL, or None. */
static int option(PyObject *object, void *out)
{
    char *data;

    if (object != Py_None && PyBytes_AsStringAndSize(object, &data, NULL) < 0)
        return 0;
    *(PyObject **)out = object;
    return 1;
}

static int client_init(struct client *self, PyObject *args, PyObject *keywords)
{
    PyObject *socket, *cache, *user, *password, *loads;
    int direct, decoder;
    unsigned timeout;

    if (keywords != NULL && PyDict_GET_SIZE(keywords) != 0) {
        PyErr_SetString(PyExc_TypeError, "Client() takes no keywords");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "O&O&O&O&IpiO:Client", option, &socket, option, &cache, option,
                          &user, option, &password, &timeout, &direct, &decoder, &loads))
        return -1;
    if (self->open) {
        PyErr_SetString(PyExc_RuntimeError, "__init__ was called before");
        return -1;
    }
    self->socket = Py_NewRef(socket);
    self->cache = Py_NewRef(cache);
    self->user = Py_NewRef(user);
    self->password = Py_NewRef(password);
    self->loads = Py_NewRef(loads);
    self->timeout_ms = timeout;
    self->no_direct = !direct;
    self->decoder = decoder == DECODER_JSON || decoder == DECODER_CALL ? (enum decoder)decoder
                                                                       : DECODER_RAW;
    self->open = true;
    return 0;
}

static int client_traverse(struct client *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->loads);
    return 0;
}

/* Values can no more be decoded: the next call is refused. */
static int client_clear_references(struct client *self)
{
    self->open = false;
    self->decoder = DECODER_RAW;
    Py_CLEAR(self->loads);
    return 0;
}

static void client_dealloc(struct client *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    client_clear_references(self);
    close_idle(self);
    Py_XDECREF(self->socket);
    Py_XDECREF(self->cache);
    Py_XDECREF(self->user);
    Py_XDECREF(self->password);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef client_methods[] = {
    {"get", (PyCFunction)(void (*)(void))client_get, METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"has", (PyCFunction)client_has, METH_O, has_doc},
    {"get_many", (PyCFunction)client_get_many, METH_O, get_many_doc},
    {"delete", (PyCFunction)client_delete, METH_O, delete_doc},
    {"delete_many", (PyCFunction)client_delete_many, METH_O, delete_many_doc},
    {"clear", (PyCFunction)client_clear, METH_NOARGS, clear_doc},
    {"delete_pattern", (PyCFunction)client_delete_pattern, METH_O, delete_pattern_doc},
    {"invalidate_tags", (PyCFunction)client_invalidate_tags, METH_O, invalidate_tags_doc},
    {"direct", (PyCFunction)client_direct, METH_NOARGS, direct_doc},
    {"counts", (PyCFunction)client_counts, METH_NOARGS, counts_doc},
    {"close", (PyCFunction)client_close, METH_NOARGS, close_doc},
    {"_peek", (PyCFunction)client_peek, METH_VARARGS, peek_doc},
    {"_peek_has", (PyCFunction)client_peek_has, METH_O, peek_has_doc},
    {"_put", (PyCFunction)client_put, METH_VARARGS, put_doc},
    {"_put_many", (PyCFunction)client_put_many, METH_VARARGS, put_many_doc},
    {"_incr", (PyCFunction)client_incr, METH_VARARGS, incr_doc},
    {"_touch", (PyCFunction)client_touch, METH_VARARGS, touch_doc},
    {"_ttl", (PyCFunction)client_ttl, METH_O, ttl_doc},
    {"_stats", (PyCFunction)client_stats, METH_NOARGS, stats_doc},
    {"_begin", (PyCFunction)client_begin, METH_VARARGS, begin_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot client_slots[] = {
    {Py_tp_doc, "Client(socket, cache, user, password, timeout_ms, direct, decoder, loads): a cache, "
                "with bytes for values. Use cachetastic.Cache."},
    {Py_tp_methods, client_methods},
    {Py_tp_init, (void *)client_init},
    {Py_tp_traverse, (void *)client_traverse},
    {Py_tp_clear, (void *)client_clear_references},
    {Py_tp_dealloc, (void *)client_dealloc},
    {0, NULL},
};

PyType_Spec client_spec = {
    .name = "cachetastic._cachetastic.Client",
    .basicsize = sizeof(struct client),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = client_slots,
};
