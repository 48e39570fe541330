/* over: a library of a parent project, over firn. */
#include <firn/firn.h>
#include <stddef.h>

#if defined(__has_include)
#if __has_include(<base/alloc.h>) || __has_include(<engine/engine.h>)
#error "firn's own headers are in the way of its users' headers"
#endif
#endif

int over_open(const char *folder);

int over_open(const char *folder)
{
    firn *db = NULL;
    int rc = firn_open(folder, NULL, &db, NULL);
    return rc == FIRN_OK ? firn_close(db, NULL) : rc;
}
