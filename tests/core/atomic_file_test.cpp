// Files appear whole or not at all.
#include "core/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/input_file.h"
#include "support/errors.h"
#include "support/files.h"

namespace fovea {
namespace {

using testing::error_of;
using testing::read_file;
using testing::SmallDisk;
using testing::TempFolder;
using testing::write_file;

void replace(const std::string& path, const std::string& bytes) {
  AtomicFile file("test", path);
  file.write(bytes.data(), bytes.size());
  file.commit();
}

TEST(AtomicFile, ReplacesTheOldFileAndLeavesNothingElse) {
  const TempFolder folder;
  const std::string path = folder / "file";
  write_file(path, "old and longer");
  replace(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFile, WithoutCommitTheOldFileStays) {
  const TempFolder folder;
  const std::string path = folder / "file";
  write_file(path, "old");
  {
    AtomicFile file("test", path);
    file.write("new", 3);
    EXPECT_EQ(folder.entries(), 2);
  }
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(AtomicFile, RemovesWhatAKilledWriterLeft) {
  const TempFolder folder;
  const std::string path = folder / "file";
  const std::vector<std::string> others = {"file.tmp",      "file.tmp-",       "file.tmp-12",
                                           "file.tmp-1-2x", "file.tmp-mine-1", "files.tmp-1-2",
                                           "afile.tmp-1-2"};
  for (const std::string& name : others) write_file(folder / name, "not a temporary of 'file'");
  write_file(folder / "file.tmp-99999999-0", "half a fi");
  write_file(folder / ("file.tmp-" + std::to_string(::getpid()) + "-0"), "of the same number");
  AtomicFile busy("test", path);  // one that is being written stays
  busy.write("busy", 4);
  replace(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(folder.entries(), static_cast<std::ptrdiff_t>(others.size() + 2));
  busy.commit();
  EXPECT_EQ(read_file(path), "busy");
  for (const std::string& name : others) EXPECT_TRUE(std::filesystem::exists(folder / name));
}

TEST(AtomicFile, KeepsPermissionsAndFollowsLinks) {
  const TempFolder folder;
  write_file(folder / "target", "old");
  ASSERT_EQ(::chmod((folder / "target").c_str(), 0640), 0);
  ASSERT_EQ(::symlink("target", (folder / "link").c_str()), 0);
  replace(folder / "link", "new");
  EXPECT_EQ(read_file(folder / "target"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "link"));
  struct stat status {};
  ASSERT_EQ(::stat((folder / "target").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
}

TEST(AtomicFile, FollowsLinksToWhereThereIsNoFileYet) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "below");
  ASSERT_EQ(::symlink("below/second", (folder / "first").c_str()), 0);
  ASSERT_EQ(::symlink("target", (folder / "below/second").c_str()), 0);
  replace(folder / "first", "new");
  EXPECT_EQ(read_file(folder / "below/target"), "new");
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "first"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder / "below/second"));
  ASSERT_EQ(::symlink("loop", (folder / "loop").c_str()), 0);
  EXPECT_CONTAINS(error_of([&] { replace(folder / "loop", "new"); }), "symbolic links");
}

TEST(AtomicFile, RefusesFoldersDevicesAndMissingFolders) {
  const TempFolder folder;
  EXPECT_CONTAINS(error_of([&] { AtomicFile("test", folder.path()); }), "it is a folder");
  EXPECT_CONTAINS(error_of([&] { AtomicFile("test", "/dev/null"); }), "not a regular file");
  EXPECT_CONTAINS(error_of([&] { AtomicFile("test", folder / "none/file"); }),
                  "none/file': there is no folder '" + (folder / "none") + "'");
  EXPECT_CONTAINS(error_of([&] { AtomicFile("test", ""); }), "empty");
  EXPECT_EQ(folder.entries(), 0);
}

TEST(AtomicFile, ReadOnlyFolderIsAnError) {
  const TempFolder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  const bool root =
      ::geteuid() == 0;  // who may write everywhere, and so becomes nobody for a while
  constexpr uid_t kNobody = 65534;
  if (root && ::seteuid(kNobody) != 0) GTEST_SKIP() << "root cannot become nobody here";
  const std::string message = error_of([&] { replace(folder / "file", "x"); });
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  EXPECT_CONTAINS(message, "Permission denied");
  EXPECT_EQ(folder.entries(), 0);
}

TEST(AtomicFile, FullDiskIsAnErrorThatLeavesNoTrace) {
  const SmallDisk disk;
  if (!disk.mounted()) GTEST_SKIP() << "mounting a small file system needs root";
  const std::string path = disk.folder() / "file";
  write_file(path, "old");
  const std::string message = error_of([&] { replace(path, std::string(1 << 20, 'x')); });
  EXPECT_CONTAINS(message, "the disk is full");
  EXPECT_CONTAINS(message, path);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(disk.folder().entries(), 1);
}

TEST(InputFile, RefusesWhatIsNotARegularFile) {
  const TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_CONTAINS(error_of([&] { InputFile("test", folder / "pipe"); }), "not a regular file");
  EXPECT_CONTAINS(error_of([&] { InputFile("test", folder.path()); }), "it is a folder");
  EXPECT_CONTAINS(error_of([&] { InputFile("test", folder / "none"); }), "No such file");
}

}  // namespace
}  // namespace fovea
