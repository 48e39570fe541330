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

# A room of many files has floors, which are its folders, the lowest one first. Each file lies on one of them. A floor sees what its
# room sees, and of its room the headers in the include folders of itself and of the floors in its row, nothing else.
set(FIRN_FLOORS_wal segments recovering writing reading)
set(FIRN_ARROWS_wal_segments)
set(FIRN_ARROWS_wal_recovering segments)
set(FIRN_ARROWS_wal_writing    segments recovering)
set(FIRN_ARROWS_wal_reading    segments recovering writing)

set(FIRN_FLOORS_engine tree store commit jobs calls care)
set(FIRN_ARROWS_engine_tree)
set(FIRN_ARROWS_engine_store  tree)
set(FIRN_ARROWS_engine_commit tree store)
set(FIRN_ARROWS_engine_jobs   tree store commit)
set(FIRN_ARROWS_engine_calls  tree store commit jobs)
set(FIRN_ARROWS_engine_care   tree store jobs)
