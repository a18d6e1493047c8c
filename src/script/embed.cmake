# embed.cmake -- writes the Lua files FILES, which lie under ROOT, as byte
# arrays into the C file OUTPUT; see embedded.h for what they become.
# Run by: cmake -DOUTPUT=... -DROOT=... -DFILES=a;b -P embed.cmake
set(arrays "")
set(table "")
set(n 0)
list(SORT FILES)
foreach(file IN LISTS FILES)
    file(RELATIVE_PATH name "${ROOT}" "${file}")
    string(REGEX REPLACE "\\.lua$" "" module "${name}")
    string(REPLACE "/" "." module "${module}")
    file(READ "${file}" hex HEX)
    string(LENGTH "${hex}" len)
    math(EXPR len "${len} / 2")
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    # 16 bytes of five characters a line
    string(REPEAT "." 80 line)
    string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
    # The 0 at the end makes an empty file an array, too.
    string(APPEND arrays
        "static const unsigned char file_${n}[] = {\n${bytes}0\n};\n\n")
    string(APPEND table
        "    { \"${module}\", \"${name}\", file_${n}, ${len} },\n")
    math(EXPR n "${n} + 1")
endforeach()
file(WRITE "${OUTPUT}" "/* Made by embed.cmake from lua/: do not edit. */
#include \"script/embedded.h\"

${arrays}const struct embedded_lua embedded_lua[] = {
${table}    { NULL, NULL, NULL, 0 },
};
")
