#include "cli/settings.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/base/errors.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace ilre::cli {
namespace {

namespace fs = std::filesystem;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Folders that may hold models/ and profiles/: of an installation (PREFIX/bin/ilre), of a checkout
// (CHECKOUT/build/PRESET/bin/ilre).
std::vector<fs::path> ResourceFolders() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  std::vector<fs::path> folders;
  if (program.empty()) return folders;
  folders.push_back(program.parent_path().parent_path() / "share" / "ilre");
  folders.push_back(program.parent_path().parent_path().parent_path().parent_path());
  return folders;
}

// Files in FOLDER/`subfolder` that end in `extension`, by name.
std::vector<std::string> ResourceFiles(const char* subfolder, absl::string_view extension) {
  std::vector<std::string> files;
  for (const fs::path& folder : ResourceFolders()) {
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder / subfolder, ignored)) {
      if (entry.path().extension() == std::string(extension)) files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    if (!files.empty()) return files;
  }
  return files;
}

}  // namespace

absl::StatusOr<std::string> DataDirectory(const Settings& settings) {
  if (!settings.data_dir.empty()) return settings.data_dir;
  if (std::string folder = Environment("ILRE_DATA_DIR"); !folder.empty()) return folder;
  const std::string home = Environment("HOME");
  if (home.empty()) {
    return MakeError(absl::StatusCode::kFailedPrecondition, "NO_DATA_DIRECTORY",
                     "neither --data-dir, nor $ILRE_DATA_DIR, nor $HOME says where documents are kept");
  }
  return home + "/.local/share/ilre";
}

absl::StatusOr<std::string> ModelPath(const Settings& settings) {
  if (!settings.model.empty()) return settings.model;
  if (std::string path = Environment("ILRE_MODEL"); !path.empty()) return path;
  const std::vector<std::string> shipped = ResourceFiles("models", ".gguf");
  if (!shipped.empty()) return shipped[0];
  return MakeError(absl::StatusCode::kNotFound, "NO_MODEL",
                   "no model: give --model FILE.gguf, set $ILRE_MODEL, or run scripts/setup for the default one");
}

absl::StatusOr<std::string> ProfilePath(const Settings& settings, const std::string& model_fingerprint) {
  if (!settings.profile.empty()) return settings.profile;
  if (std::string path = Environment("ILRE_PROFILE"); !path.empty()) return path;
  // A model's default has the shortest name; its others have one more part: NAME.best.json.
  std::vector<std::string> paths = ResourceFiles("profiles", ".json");
  std::stable_sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  for (const std::string& path : paths) {
    const absl::StatusOr<std::string> text = ReadFile(path, 1 << 20);
    if (!text.ok()) continue;
    const auto json = nlohmann::json::parse(*text, nullptr, false);
    if (!json.is_object() || !json.contains("model") || json["model"] != model_fingerprint) continue;
    // Integer arithmetic is the processor's; its twin for other devices lies beside it.
    const bool is_int8 = json.contains("arithmetic") && json["arithmetic"] == "int8";
    if (!is_int8 || settings.device == "cpu") return path;
    const std::string twin = fs::path(path).replace_extension(".precise.json").string();
    if (fs::exists(twin)) return twin;
  }
  return MakeError(absl::StatusCode::kNotFound, "NO_PROFILE",
                   absl::StrCat("no retrieval profile for the model ", model_fingerprint,
                                ": make one with `ilre calibrate --train`, or give --profile FILE.json"));
}

}  // namespace ilre::cli
