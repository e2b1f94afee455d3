/* A lease: the right to compute a value, which ends with exactly one fill or fail. One that is
 * dropped is given back, so that nobody waits for it. */
#include "module.h"

#include <unistd.h>

struct lease {
    PyObject_HEAD
    struct client *client;
    cachetastic *handle; /* NULL: it is over */
    PyObject *key;
    uint64_t token;
    pid_t pid; /* leases stay with the parent of a fork */
};

PyObject *lease_create(struct client *client, cachetastic *handle, PyObject *key, uint64_t token)
{
    struct module_state *state = module_state_of(Py_TYPE(client));
    struct lease *self = state == NULL ? NULL : PyObject_GC_New(struct lease, state->lease_type);

    if (self == NULL) {
        cachetastic_close(handle); /* the daemon gives the lease to the next */
        return NULL;
    }
    self->client = (struct client *)Py_NewRef((PyObject *)client);
    self->handle = handle;
    self->key = Py_NewRef(key);
    self->token = token;
    self->pid = getpid();
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

/* The handle of a lease that ends now; NULL: raised, or (with *mine false) it is another process'. */
static cachetastic *end_lease(struct lease *self, bool *mine)
{
    cachetastic *handle = self->handle;

    if (handle == NULL)
        PyErr_SetString(PyExc_RuntimeError, "the lease is over: one fill or fail ends it");
    self->handle = NULL;
    *mine = self->pid == getpid();
    return handle;
}

static PyObject *answer(struct lease *self, cachetastic *handle, enum cachetastic_status status)
{
    if (status < 0)
        module_raise(Py_TYPE(self), handle, status);
    client_give(self->client, handle);
    return status < 0 ? NULL : PyBool_FromLong(status == CACHETASTIC_OK);
}

static PyObject *fill_with(struct lease *self, const Py_buffer *data,
                           const struct cachetastic_put *how)
{
    struct cachetastic_bytes key;
    enum cachetastic_status status = CACHETASTIC_MISS;
    cachetastic *handle;
    bool mine;

    if (!client_text(self->key, &key) || (handle = end_lease(self, &mine)) == NULL)
        return NULL;
    if (mine) {
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_fill(handle, key.data, key.len, self->token, data->buf,
                                  (size_t)data->len, how);
        Py_END_ALLOW_THREADS
    }
    return answer(self, handle, status);
}

PyDoc_STRVAR(fill_doc, "fill(data, ttl_ms=0, stale_ms=0, tags=()) -> bool\n\n"
                       "Store what was computed. False: the lease was over; nothing was stored.");

static PyObject *lease_fill(struct lease *self, PyObject *args)
{
    struct cachetastic_put how = {0};
    unsigned long long ttl = 0, stale = 0;
    PyObject *tags = NULL, *result = NULL;
    struct texts texts = {0};
    Py_buffer data;

    if (!PyArg_ParseTuple(args, "y*|KKO:fill", &data, &ttl, &stale, &tags))
        return NULL;
    if (tags == NULL || texts_init(&texts, tags)) {
        how.ttl_ms = ttl;
        how.stale_ms = stale;
        how.tags = texts.bytes;
        how.n_tags = texts.n;
        result = fill_with(self, &data, &how);
    }
    texts_fini(&texts);
    PyBuffer_Release(&data);
    return result;
}

PyDoc_STRVAR(fail_doc, "fail(retry_ms=0) -> bool\n\n"
                       "Give the lease back without a value; nobody is to try within retry_ms.");

static PyObject *lease_fail(struct lease *self, PyObject *args)
{
    enum cachetastic_status status = CACHETASTIC_MISS;
    struct cachetastic_bytes key;
    unsigned long long retry = 0;
    cachetastic *handle;
    bool mine;

    if (!PyArg_ParseTuple(args, "|K:fail", &retry) || !client_text(self->key, &key) ||
        (handle = end_lease(self, &mine)) == NULL)
        return NULL;
    if (mine) {
        Py_BEGIN_ALLOW_THREADS
        status = cachetastic_fail(handle, key.data, key.len, self->token, retry);
        Py_END_ALLOW_THREADS
    }
    return answer(self, handle, status);
}

static int lease_traverse(struct lease *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT((PyObject *)self->client);
    return 0;
}

/* A lease that nobody ended. Its handle cannot be given back to a client that the collector may have
 * taken apart. A child of a fork closes its copy and says nothing. */
static void abandon(struct lease *self)
{
    cachetastic *handle = self->handle;
    struct cachetastic_bytes key;
    PyObject *type, *value, *trace;

    self->handle = NULL;
    if (handle == NULL)
        return;
    PyErr_Fetch(&type, &value, &trace);
    if (self->pid == getpid() && client_text(self->key, &key)) {
        Py_BEGIN_ALLOW_THREADS
        cachetastic_fail(handle, key.data, key.len, self->token, 0);
        Py_END_ALLOW_THREADS
    }
    cachetastic_close(handle);
    PyErr_Restore(type, value, trace);
}

static int lease_clear(struct lease *self)
{
    Py_CLEAR(self->client);
    return 0;
}

static void lease_dealloc(struct lease *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    abandon(self);
    lease_clear(self);
    Py_XDECREF(self->key);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef lease_methods[] = {
    {"fill", (PyCFunction)lease_fill, METH_VARARGS, fill_doc},
    {"fail", (PyCFunction)lease_fail, METH_VARARGS, fail_doc},
    {NULL, NULL, 0, NULL},
};

static PyObject *lease_open(struct lease *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(self->handle != NULL);
}

static PyGetSetDef lease_attributes[] = {
    {"open", (getter)lease_open, NULL, "Whether it is yet to be ended.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_doc, "The right to compute one value; dropping it gives it back."},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_attributes},
    {Py_tp_traverse, (void *)lease_traverse},
    {Py_tp_clear, (void *)lease_clear},
    {Py_tp_dealloc, (void *)lease_dealloc},
    {0, NULL},
};

PyType_Spec lease_spec = {
    .name = "cachetastic._cachetastic.Lease",
    .basicsize = sizeof(struct lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = lease_slots,
};
