/* crash_line: a crash state as one line, and back.
 *
 *   <script> seed=<n> <model>@<point>[<tear>]:<choice>[/<model>@...]
 *
 * The choice is a run-length list of one number an item ("3*0,1,12*2"), in the order of disk_items,
 * so the line means the same state as long as the script records the same changes. What follows a
 * '/' is a crash of the recovery from the state before it.
 */
#include "crash_walk.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *crash_model_name(crash_model model)
{
    return model == CRASH_KILL ? "kill" : model == CRASH_ORDERED ? "ordered" : "strict";
}

static void put(char *line, size_t size, size_t *used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void put(char *line, size_t size, size_t *used, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(*used < size ? line + *used : NULL, *used < size ? size - *used : 0, format,
                      args);
    va_end(args);
    *used += n > 0 ? (size_t)n : 0;
}

size_t crash_write_line(const crash_walk *w, char *line, size_t size)
{
    const crash_walk *chain[8];
    unsigned depth = 0;
    for (const crash_walk *at = w; at && depth < 8; at = at->outer)
        chain[depth++] = at;
    size_t used = 0;
    put(line, size, &used, "%s seed=%llu ", w->options->name,
        (unsigned long long)chain[depth - 1]->seed);
    while (depth > 0) {
        const crash_walk *at = chain[--depth];
        put(line, size, &used, "%s@%llu", crash_model_name(at->model),
            (unsigned long long)at->d.changes);
        if (at->tear)
            put(line, size, &used, "%+lld", (long long)at->tear);
        put(line, size, &used, ":");
        for (uint32_t i = 0; i < at->d.item_count;) {
            uint32_t run = 1;
            while (i + run < at->d.item_count && at->choice[i + run] == at->choice[i])
                run++;
            if (run > 1)
                put(line, size, &used, "%s%u*%u", i ? "," : "", run, at->choice[i]);
            else
                put(line, size, &used, "%s%u", i ? "," : "", at->choice[i]);
            i += run;
        }
        if (depth > 0)
            put(line, size, &used, "/");
    }
    return used;
}

bool crash_read_line(const char *line, const char *name, uint64_t *seed, const char **rest)
{
    size_t length = strlen(name);
    if (strncmp(line, name, length) != 0 || strncmp(line + length, " seed=", 6) != 0)
        return false;
    char *end = NULL;
    errno = 0;
    *seed = strtoull(line + length + 6, &end, 10);
    if (errno || *end != ' ')
        return false;
    *rest = end + 1;
    return true;
}

bool crash_read_step(const char **rest, crash_step *step)
{
    static const crash_model models[] = {CRASH_KILL, CRASH_ORDERED, CRASH_STRICT};
    const char *p = *rest;
    step->model = 0;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        size_t length = strlen(crash_model_name(models[i]));
        if (strncmp(p, crash_model_name(models[i]), length) == 0 && p[length] == '@') {
            step->model = models[i];
            p += length + 1;
            break;
        }
    }
    if (!step->model)
        return false;
    char *end = NULL;
    errno = 0;
    step->point = strtoull(p, &end, 10);
    step->tear = 0;
    if (*end == '+' || *end == '-')
        step->tear = strtoll(end, &end, 10);
    if (errno || *end != ':')
        return false;
    step->choice = end + 1;
    const char *slash = strchr(step->choice, '/');
    *rest = slash ? slash + 1 : NULL;
    return true;
}

bool crash_read_choice(crash_walk *w, const char *text)
{
    uint32_t at = 0;
    const char *p = text;
    while (*p && *p != '/') {
        char *end = NULL;
        unsigned long run = 1;
        unsigned long value = strtoul(p, &end, 10);
        if (end == p)
            return false;
        if (*end == '*') {
            run = value;
            p = end + 1;
            value = strtoul(p, &end, 10);
            if (end == p)
                return false;
        }
        for (; run > 0; run--) {
            if (at >= w->d.item_count || value > w->d.items[at].alternatives)
                return false;
            w->choice[at++] = (uint16_t)value;
        }
        p = *end == ',' ? end + 1 : end;
    }
    return at == w->d.item_count;
}
