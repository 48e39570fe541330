# The tests of tools/: parts of the command, and shell scripts that drive the command itself.
firn_test(tools escape unit)
firn_test(tools lines unit)
firn_test(tools acks unit)
firn_test(tools text unit)
firn_test(tools waits unit)

# firn_script(TOPIC LABEL) runs tests/tools/TOPIC.sh with the command's path in $FIRN.
function(firn_script topic label)
    add_test(NAME tools.${topic} COMMAND sh ${PROJECT_SOURCE_DIR}/tests/tools/${topic}.sh ${ARGN})
    set_tests_properties(tools.${topic} PROPERTIES LABELS ${label} TIMEOUT 600
                         ENVIRONMENT "FIRN=$<TARGET_FILE:firn_command>;PTY=$<TARGET_FILE:firn_pty>")
endfunction()

# Runs a command on a terminal.
add_executable(firn_pty ${CMAKE_CURRENT_LIST_DIR}/pty.c)
target_link_libraries(firn_pty PRIVATE firn_options)

firn_script(verbs unit)
firn_script(buckets unit)
firn_script(roundtrip unit)
firn_script(exits fault)
firn_script(terminal damage)
firn_script(care unit)
firn_script(files fault)
firn_script(acked unit)
firn_script(kill9 crash 10 1)
firn_script(beside stress)
