firn_test(memtable basics unit)
firn_test(memtable memory fault)
firn_test(memtable model model)
firn_test(memtable stress stress)
