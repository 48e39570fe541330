/* edit: see edit.h. */
#include <tree/edit.h>

#include <base/alloc.h>
#include <base/grow.h>

static int edit_push(edit_table **list, size_t *count, size_t *capacity, edit_table item)
{
    if (array_grow(list, capacity, *count, sizeof item, NULL) != FIRN_OK)
        return FIRN_NO_MEMORY;
    (*list)[(*count)++] = item;
    return FIRN_OK;
}

int edit_add(edit *e, unsigned lvl, table *t)
{
    return edit_push(&e->added, &e->added_count, &e->added_capacity, (edit_table){lvl, t});
}

int edit_drop(edit *e, unsigned lvl, table *t)
{
    return edit_push(&e->dropped, &e->dropped_count, &e->dropped_capacity, (edit_table){lvl, t});
}

void edit_release(edit *e)
{
    heap_free(e->added);
    heap_free(e->dropped);
    *e = (edit){0};
}
