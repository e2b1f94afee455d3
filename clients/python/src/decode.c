/* Values to objects. The default serializer is JSON, and most values are strings and integers:
 * these are read here, everything else by the serializer's loads. */
#include "module.h"

#include <string.h>

#define DIGITS_MAX 18 /* of a number that surely fits into 64 bits */

/* A string that stands in its quotes as it is: no escape, no quote, no control character within. */
static bool plain_string(const char *data, size_t len)
{
    if (len < 2 || data[0] != '"' || data[len - 1] != '"')
        return false;
    for (size_t i = 1; i < len - 1; i++)
        if (data[i] == '"' || data[i] == '\\' || (unsigned char)data[i] < ' ')
            return false;
    return true;
}

/* RFC 8259 section 6: no leading zeros. -0 is left to loads. */
static bool plain_integer(const char *data, size_t len, long long *out)
{
    bool negative = len > 0 && data[0] == '-';
    size_t digits = len - negative;
    long long value = 0;

    if (digits == 0 || digits > DIGITS_MAX || (data[negative] == '0' && len > 1))
        return false;
    for (size_t i = negative; i < len; i++) {
        if (data[i] < '0' || data[i] > '9')
            return false;
        value = value * 10 + (data[i] - '0');
    }
    *out = negative ? -value : value;
    return true;
}

/* A failure of the serializer becomes our error, with its own as the cause; one that is no Exception
 * (KeyboardInterrupt) goes on as it is. */
static PyObject *raise_undecodable(struct client *client)
{
    PyObject *type, *cause, *trace, *ours_type, *ours, *ours_trace;

    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Fetch(&type, &cause, &trace);
    PyErr_NormalizeException(&type, &cause, &trace);
    if (trace != NULL)
        PyException_SetTraceback(cause, trace);
    module_raise_as(Py_TYPE(client), "SerializerError", "the value cannot be decoded");
    PyErr_Fetch(&ours_type, &ours, &ours_trace);
    PyErr_NormalizeException(&ours_type, &ours, &ours_trace);
    PyException_SetCause(ours, cause);
    PyErr_Restore(ours_type, ours, ours_trace);
    Py_DECREF(type);
    Py_XDECREF(trace);
    return NULL;
}

static PyObject *call_loads(struct client *client, PyObject *argument)
{
    PyObject *object = argument == NULL ? NULL : PyObject_CallOneArg(client->loads, argument);

    Py_XDECREF(argument);
    return object == NULL ? raise_undecodable(client) : object;
}

static PyObject *decode_json(struct client *client, const char *data, size_t len)
{
    long long number;
    PyObject *text;

    if (plain_integer(data, len, &number))
        return PyLong_FromLongLong(number);
    if (!plain_string(data, len))
        return call_loads(client, PyUnicode_DecodeUTF8(data, (Py_ssize_t)len, NULL));
    text = PyUnicode_DecodeUTF8(data + 1, (Py_ssize_t)len - 2, NULL);
    return text == NULL ? raise_undecodable(client) : text;
}

PyObject *decode(struct client *client, struct cachetastic_bytes value)
{
    switch (client->decoder) {
    case DECODER_JSON:
        return decode_json(client, value.data, value.len);
    case DECODER_CALL:
        return call_loads(client, PyBytes_FromStringAndSize(value.data, (Py_ssize_t)value.len));
    default:
        return PyBytes_FromStringAndSize(value.data, (Py_ssize_t)value.len);
    }
}
