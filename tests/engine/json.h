/* json: a strict reader of JSON (RFC 8259), for what firn prints. Each function returns NULL when there is no such thing; texts end
 * with NUL. Strings must be printable ASCII, as firn's are, and no object may have a name twice. */
#ifndef TESTS_ENGINE_JSON_H
#define TESTS_ENGINE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH 16

static inline const char *json_blank(const char *p)
{
    return p + strspn(p, " \n\r\t");
}

static inline const char *json_digits(const char *p)
{
    size_t n = strspn(p, "0123456789");
    return n ? p + n : NULL;
}

static inline const char *json_number(const char *p)
{
    p += *p == '-';
    const char *end = json_digits(p);
    if (!end || (*p == '0' && end != p + 1))
        return NULL;
    if (*end == '.' && !(end = json_digits(end + 1)))
        return NULL;
    if (*end != 'e' && *end != 'E')
        return end;
    end++;
    return json_digits(end + (*end == '+' || *end == '-'));
}

/* Behind the string that begins here. */
static inline const char *json_string(const char *p)
{
    if (*p++ != '"')
        return NULL;
    while (*p != '"') {
        if (*p < 0x20 || *p > 0x7e)
            return NULL;
        if (*p++ != '\\')
            continue;
        if (*p == 'u' && strspn(p + 1, "0123456789abcdefABCDEF") >= 4)
            p += 5;
        else if (*p && strchr("\"\\/bfnrt", *p))
            p++;
        else
            return NULL;
    }
    return p + 1;
}

static inline const char *json_word(const char *p)
{
    static const char *const words[] = {"true", "false", "null"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strncmp(p, words[i], strlen(words[i])) == 0)
            return p + strlen(words[i]);
    return NULL;
}

static inline const char *json_end(const char *p, unsigned depth);

/* The value with this name of the object, or array, that begins here: the n-th one where `name` is NULL. With `name` and an empty
 * object or array, and where there is none: NULL. `*count`: how many there are. */
static inline const char *json_members(const char *p, const char *name, size_t n, size_t *count,
                                       const char **end, unsigned depth)
{
    const char close = *p == '{' ? '}' : ']', *found = NULL;
    const bool object = *p == '{';
    *count = 0;
    *end = NULL;
    p = json_blank(p + 1);
    for (bool first = true; *p != close; first = false) {
        if (!first && *p++ != ',')
            return NULL;
        const char *key = p = json_blank(p);
        size_t size = 0;
        if (object) {
            if (!(p = json_string(p)))
                return NULL;
            size = (size_t)(p - key) - 2;
            p = json_blank(p);
            if (*p++ != ':')
                return NULL;
            p = json_blank(p);
        }
        bool is = name ? strlen(name) == size && memcmp(key + 1, name, size) == 0 : *count == n;
        if (is && found)
            return NULL;
        if (is)
            found = p;
        if (!(p = json_end(p, depth + 1)))
            return NULL;
        p = json_blank(p);
        ++*count;
    }
    *end = p + 1;
    return found;
}

/* No name of the object is there twice. */
static inline bool json_names_differ(const char *p)
{
    size_t count = 0, other;
    const char *end;
    (void)json_members(p, NULL, SIZE_MAX, &count, &end, 0);
    const char *key = json_blank(p + 1);
    for (size_t i = 0; i < count; i++) {
        char name[128];
        size_t size = (size_t)(json_string(key) - key) - 2;
        if (size >= sizeof name)
            return false;
        memcpy(name, key + 1, size);
        name[size] = '\0';
        if (!json_members(p, name, 0, &other, &end, 0))
            return false;
        const char *value = json_blank(json_blank(json_string(key)) + 1);
        key = json_blank(json_blank(json_end(value, 0)) + 1);
    }
    return true;
}

/* Behind the value that begins here. */
static inline const char *json_end(const char *p, unsigned depth)
{
    size_t count;
    const char *end;
    if (depth > JSON_DEPTH)
        return NULL;
    if (*p == '"')
        return json_string(p);
    if (*p == '{' || *p == '[') {
        (void)json_members(p, NULL, SIZE_MAX, &count, &end, depth);
        return end && *p == '{' && !json_names_differ(p) ? NULL : end;
    }
    return *p == '-' || (*p >= '0' && *p <= '9') ? json_number(p) : json_word(p);
}

static inline bool json_is_valid(const char *text)
{
    const char *end = json_end(json_blank(text), 0);
    return end && *json_blank(end) == '\0';
}

/* Of a valid text. */
static inline const char *json_named(const char *object, const char *name)
{
    size_t count;
    const char *end;
    return object && *object == '{' ? json_members(object, name, 0, &count, &end, 0) : NULL;
}

static inline const char *json_at(const char *array, size_t n)
{
    size_t count;
    const char *end;
    return array && *array == '[' ? json_members(array, NULL, n, &count, &end, 0) : NULL;
}

static inline size_t json_count(const char *p)
{
    size_t count = 0;
    const char *end;
    if (p && (*p == '{' || *p == '['))
        (void)json_members(p, NULL, SIZE_MAX, &count, &end, 0);
    return count;
}

/* A number without sign and fraction. */
static inline bool json_is_u64(const char *p, uint64_t value)
{
    char *end;
    return p && *p >= '0' && *p <= '9' && strtoull(p, &end, 10) == value && *end != '.';
}

/* A string of \u00XX and plain characters as the bytes that they stand for. */
static inline bool json_is_bytes(const char *p, const void *bytes, size_t size)
{
    const uint8_t *b = bytes;
    if (!p || *p++ != '"')
        return false;
    for (size_t i = 0; i < size; i++) {
        char hex[5] = {0};
        if (strncmp(p, "\\u", 2) == 0)
            memcpy(hex, p + 2, 4);
        if ((hex[0] ? (uint8_t)strtoul(hex, NULL, 16) : (uint8_t)*p) != b[i])
            return false;
        p += hex[0] ? 6 : 1;
    }
    return *p == '"';
}

#endif
