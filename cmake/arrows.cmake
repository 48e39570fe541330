# The arrows between the rooms: who may see whom. A room's include path holds its own headers and those
# of the rooms in its row, nothing else, so that a wrong arrow does not compile. tests/house compares the
# rows with the #include lines of the code.
set(FIRN_ROOMS base wal memtable sstable engine tools)
set(FIRN_ARROWS_base)
set(FIRN_ARROWS_wal      base)
set(FIRN_ARROWS_memtable base)
set(FIRN_ARROWS_sstable  base)
set(FIRN_ARROWS_engine   base wal memtable sstable)
set(FIRN_ARROWS_tools    base wal sstable engine)
