/* A header of the parent's that has the name of one of firn's. */
#error "firn was compiled with its parent's header"
