#include "redis/message.h"

#include "common/base64.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

/* More than the longest key in its longest spelling; a bound on what others can make us parse. */
#define MESSAGE_MAX_BYTES (1u << 20)

/* By enum message_action; MESSAGE_OTHER has no name. */
static const char *const action_names[] = {"delete", "clear",        "clear_end", "pattern", "tag",
                                           "purge",  "soft_pattern", "soft_tag",  "nonce"};
#define N_ACTIONS (sizeof(action_names) / sizeof(action_names[0]))

static bool action_has_key(enum message_action action)
{
    return action == MESSAGE_DELETE || action == MESSAGE_PATTERN || action == MESSAGE_TAG ||
           action == MESSAGE_PURGE || action == MESSAGE_SOFT_PATTERN ||
           action == MESSAGE_SOFT_TAG || action == MESSAGE_NONCE;
}

static enum message_action action_by_name(const char *name)
{
    for (size_t i = 0; i < N_ACTIONS; i++)
        if (strcmp(action_names[i], name) == 0)
            return (enum message_action)i;
    return MESSAGE_OTHER;
}

static const char *slice_start(struct slice s)
{
    return s.data == NULL ? "" : s.data;
}

static int set_text(json_t *object, const char *name, struct slice text)
{
    json_t *string = json_stringn(slice_start(text), text.len);

    return json_object_set_new(object, name, string) == 0 ? ERR_OK : ERR_INVALID;
}

static int set_base64(json_t *object, const char *name, struct slice bytes)
{
    size_t len = base64_encoded_len(bytes.len);
    char *text = malloc(len + 1);
    int status;

    if (text == NULL)
        return ERR_NOMEM;
    base64_encode(bytes, text);
    status = set_text(object, name, slice_make(text, len));
    free(text);
    return status;
}

static int set_key(json_t *event, struct slice key)
{
    /* jansson takes UTF-8 only, and checks. */
    if (set_text(event, "key", key) == ERR_OK)
        return ERR_OK;
    return set_base64(event, "key_b64", key);
}

static int append_json(const char *bytes, size_t len, void *arg)
{
    return buf_append(arg, bytes, len) == ERR_OK ? 0 : -1;
}

/* The root object takes over event, also on failure. */
static int encode_root(json_t *event, struct slice node_id, struct buf *out)
{
    json_t *root = json_object();
    size_t before = buf_len(out);
    int status = ERR_NOMEM;

    if (json_object_set_new(root, "event", event) != 0)
        goto out;
    status = set_text(root, "node_id", node_id);
    if (status != ERR_OK)
        goto out;
    if (json_dump_callback(root, append_json, out, JSON_COMPACT) != 0) {
        buf_truncate(out, before);
        status = ERR_NOMEM;
    }
out:
    json_decref(root);
    return status;
}

int message_encode(enum message_action action, struct slice cache, struct slice key,
                   struct slice node_id, struct buf *out)
{
    json_t *event;
    int status;

    if ((size_t)action >= N_ACTIONS)
        return ERR_INVALID;
    event = json_object();
    if (event == NULL)
        return ERR_NOMEM;
    status = set_text(event, "action", slice_cstr(action_names[action]));
    if (status == ERR_OK)
        status = set_text(event, "cache", cache);
    if (status == ERR_OK && action_has_key(action))
        status = set_key(event, key);
    if (status != ERR_OK) {
        json_decref(event);
        return status;
    }
    return encode_root(event, node_id, out);
}

/* Bytes as an owned, NUL-terminated copy; NULL without memory. */
static char *copy_bytes(const char *bytes, size_t len)
{
    char *copy = malloc(len + 1);

    if (copy != NULL) {
        memcpy(copy, bytes, len);
        copy[len] = '\0';
    }
    return copy;
}

static int take_base64(const json_t *value, struct message *message)
{
    struct slice text = slice_make(json_string_value(value), json_string_length(value));
    char *key = malloc(text.len + 1);

    if (key == NULL)
        return ERR_NOMEM;
    if (base64_decode(text, key, &message->key_len) != ERR_OK) {
        free(key);
        return ERR_INVALID;
    }
    key[message->key_len] = '\0';
    message->key = key;
    return ERR_OK;
}

/* The Elixir library sends the key as its caller gave it: a number is the key that it prints as. */
static int take_key(const json_t *event, struct message *message)
{
    const json_t *key = json_object_get(event, "key");
    const json_t *b64 = json_object_get(event, "key_b64");
    char number[24];

    if (json_is_string(key)) {
        message->key_len = json_string_length(key);
        message->key = copy_bytes(json_string_value(key), message->key_len);
    } else if (json_is_integer(key)) {
        message->key_len =
            (size_t)snprintf(number, sizeof(number), "%" PRId64, (int64_t)json_integer_value(key));
        message->key = copy_bytes(number, message->key_len);
    } else if (json_is_string(b64)) {
        return take_base64(b64, message);
    } else {
        return ERR_INVALID;
    }
    return message->key == NULL ? ERR_NOMEM : ERR_OK;
}

static int take_cache(const json_t *event, struct message *message)
{
    const json_t *cache = json_object_get(event, "cache");

    if (cache == NULL || json_is_null(cache))
        message->cache = copy_bytes("default", strlen("default"));
    else if (json_is_string(cache))
        message->cache = copy_bytes(json_string_value(cache), json_string_length(cache));
    else
        return ERR_INVALID;
    return message->cache == NULL ? ERR_NOMEM : ERR_OK;
}

static int take_root(const json_t *root, struct message *message)
{
    const json_t *event = json_object_get(root, "event");
    const json_t *node_id = json_object_get(root, "node_id");
    const json_t *action = json_object_get(event, "action");
    int status;

    if (!json_is_string(node_id) || !json_is_string(action))
        return ERR_INVALID;
    message->action = action_by_name(json_string_value(action));
    message->node_id = copy_bytes(json_string_value(node_id), json_string_length(node_id));
    if (message->node_id == NULL)
        return ERR_NOMEM;
    status = take_cache(event, message);
    if (status == ERR_OK && action_has_key(message->action))
        status = take_key(event, message);
    return status;
}

int message_decode(struct slice json, struct message *message)
{
    struct message found = {0};
    json_t *root;
    int status;

    if (json.len > MESSAGE_MAX_BYTES)
        return ERR_INVALID;
    root = json_loadb(slice_start(json), json.len, JSON_ALLOW_NUL, NULL);
    if (root == NULL)
        return ERR_INVALID;
    status = take_root(root, &found);
    json_decref(root);
    if (status != ERR_OK) {
        message_fini(&found);
        return status;
    }
    *message = found;
    return ERR_OK;
}

void message_fini(struct message *message)
{
    free(message->cache);
    free(message->key);
    free(message->node_id);
    *message = (struct message){0};
}
