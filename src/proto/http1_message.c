#include "proto/http1_message.h"

/* Trailers are counted, not kept (RFC 9110 section 6.5.1). */

static int on_header_field(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_message *message = http1_message_of(llhttp);
    struct http1_fields *fields = &message->fields;

    return message->refuse(message, message->headers_done
                                        ? http1_fields_count(fields, len, &message->limits)
                                        : http1_fields_name(fields, at, len, &message->limits));
}

static int on_header_field_complete(llhttp_t *llhttp)
{
    struct http1_message *message = http1_message_of(llhttp);

    return message->headers_done
               ? 0
               : message->refuse(message, http1_fields_name_end(&message->fields));
}

static int on_header_value(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_message *message = http1_message_of(llhttp);
    struct http1_fields *fields = &message->fields;

    return message->refuse(message, message->headers_done
                                        ? http1_fields_count(fields, len, &message->limits)
                                        : http1_fields_value(fields, at, len, &message->limits));
}

static int on_chunk_extension(llhttp_t *llhttp, const char *at, size_t len)
{
    struct http1_message *message = http1_message_of(llhttp);

    (void)at;
    return message->refuse(message, http1_fields_count(&message->fields, len, &message->limits));
}

void http1_message_settings(llhttp_settings_t *settings)
{
    settings->on_header_field = on_header_field;
    settings->on_header_field_complete = on_header_field_complete;
    settings->on_header_value = on_header_value;
    settings->on_chunk_extension_name = on_chunk_extension;
    settings->on_chunk_extension_value = on_chunk_extension;
}

enum http1_admission http1_message_admit(struct http1_message *message, const char *data,
                                         size_t *len)
{
    uint64_t head_max = message->limits.line_bytes + message->limits.header_bytes;

    if (message->headers_done)
        return ADMIT_GOOD;
    if (message->head_taken >= head_max)
        return ADMIT_OVER;
    if (*len > head_max - message->head_taken)
        *len = (size_t)(head_max - message->head_taken);
    message->head_taken += *len;
    *len = http1_lines_scan(&message->lines, data, *len);
    return *len == 0 ? ADMIT_LINES : ADMIT_GOOD;
}

void http1_message_reset(struct http1_message *message)
{
    http1_fields_reset(&message->fields);
    message->lines = (struct http1_lines){.request = message->lines.request};
    message->head_taken = 0;
    message->headers_done = false;
    message->complete = false;
    llhttp_reset(&message->llhttp);
}
