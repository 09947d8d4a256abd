# Run as a script: writes a C++ source with the content of files, so that a program carries its web pages with it.
#   cmake -DOUTPUT=x.cc -DSYMBOL=WebAssets -DHEADER=cli/report/assets.h -DFILES="a.css|b.js" -P EmbedFiles.cmake
# Each file becomes {name, bytes, SHA-256 in hexadecimal}: pages name their scripts' digests in their security policy.
string(REPLACE "|" ";" FILES "${FILES}")
set(arrays "")
set(table "")
set(index 0)
foreach(file IN LISTS FILES)
  get_filename_component(name "${file}" NAME)
  file(READ "${file}" hex HEX)
  file(SHA256 "${file}" digest)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes
         "${bytes}")
  string(APPEND arrays "constexpr unsigned char kFile${index}[] = {\n${bytes}\n};\n")
  string(APPEND table "    {\"${name}\", {reinterpret_cast<const char*>(kFile${index}), sizeof(kFile${index})},\n"
                      "     \"${digest}\"},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE "${OUTPUT}" "// Made by cmake/EmbedFiles.cmake.
#include \"${HEADER}\"

namespace ilre::cli {
namespace {
${arrays}
}  // namespace

absl::Span<const Asset> ${SYMBOL}() {
  static const Asset kAssets[] = {
${table}  };
  return kAssets;
}

}  // namespace ilre::cli
")
