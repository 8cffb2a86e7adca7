// Writes the seed corpora, fuzz/corpus/TARGET: small files of every kind that a parser reads, in
// the form that its target takes (a first byte may say how the rest is meant). Corpora keep what
// else lies in them, such as inputs that once failed.
// usage: fuzz_seeds fuzz/corpus
#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#ifdef FOVEA_WITH_AUDIO
#include <sndfile.h>
#endif

#include "checkpointed.h"
#include "fovea/models.h"
#include "fovea/plan.h"
#include "fovea/save.h"
#include "support/files.h"
#include "support/formats.h"
#include "support/idx.h"
#include "support/jpeg.h"
#include "support/png.h"

namespace fovea::fuzz {
namespace {

using testing::gzip_of;
using testing::idx_of;
using testing::Nifti;
using testing::nifti_of;
using testing::npy_of;
using testing::wav_of;
using testing::zip_of;
using Seeds = std::map<std::string, std::string>;

constexpr char kAsItIs = 0;
const std::string kWhole(1, kAsItIs);

std::string counting(std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>(i * 7 % 251);
  return bytes;
}

Seeds idx() {
  return {
      {"labels", idx_of({5}, counting(5))},
      {"images", idx_of({3, 4, 2}, counting(24))},
      {"colour", idx_of({2, 3, 2, 2}, counting(24))},
      {"empty", idx_of({0, 28, 28}, "")},
  };
}

Seeds gzip() {
  const std::string images = idx_of({3, 4, 2}, counting(24));
  return {
      {"whole", kWhole + gzip_of(images)},
      {"two-members", kWhole + gzip_of(images.substr(0, 20)) + gzip_of(images.substr(20))},
      {"packed-1", "\x01" + images},
      {"packed-3", "\x03" + idx_of({300}, std::string(300, 'a'))},
  };
}

Seeds png() {
  using testing::png::chunk;
  using testing::png::kGreyAlpha;
  using testing::png::kPalette;
  using testing::png::kRgb;
  using testing::png::kRgba;
  using testing::png::png_of;
  Seeds seeds;
  const auto add = [&](const std::string& name, const std::string& file) {
    seeds[name] = "\x01" + file;
  };
  // Each row starts with its filter byte.
  const auto image = [](std::size_t row_bytes, std::size_t height) {
    std::string all;
    for (std::size_t y = 0; y < height; ++y) all += static_cast<char>(y % 5) + counting(row_bytes);
    return all;
  };
  const std::string palette = chunk("PLTE", counting(12));
  add("grey", png_of({.width = 5, .height = 5}, image(5, 5)));
  add("grey-1", png_of({.width = 9, .height = 2, .depth = 1}, image(2, 2)));
  add("grey-16", png_of({.width = 2, .height = 2, .depth = 16}, image(4, 2)));
  add("rgb", png_of({.width = 3, .height = 3, .color = kRgb}, image(9, 3)));
  add("rgba", png_of({.width = 2, .height = 2, .color = kRgba}, image(8, 2)));
  add("grey-alpha", png_of({.width = 2, .height = 2, .color = kGreyAlpha}, image(4, 2)));
  add("palette", png_of({.width = 4, .depth = 2, .color = kPalette}, std::string("\0\x1b", 2),
                        palette + chunk("tRNS", "ab")));
  add("gamma",
      png_of({.width = 2}, std::string(3, '\0'), chunk("gAMA", testing::png::big_endian(45455))));
  add("text", png_of({}, std::string(2, '\0'), chunk("tEXt", std::string("Title\0x", 7))));
  // A single cell lies in the first of the seven passes.
  add("interlaced", png_of({.interlaced = 1}, std::string(2, '\0')));
  seeds["as-it-is"] = kWhole + png_of({.width = 2}, std::string(3, 'a').replace(0, 1, 1, '\0'));
  return seeds;
}

// The lead of safetensors_of in target.h, then the header.
std::string with_data(const std::string& header, std::size_t bytes) {
  const std::size_t groups = bytes / 4;
  return {std::string{'\x01', static_cast<char>(groups & 0xff), static_cast<char>(groups >> 8)} +
          header};
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

// Header and data of a file that the library wrote, in the form of the target.
std::string packed(const std::string& path) {
  const std::string file = testing::read_file(path);
  const auto length = static_cast<std::size_t>(static_cast<unsigned char>(file[0])) +
                      (static_cast<std::size_t>(static_cast<unsigned char>(file[1])) << 8);
  return with_data(file.substr(8, length), file.size() - 8 - length);
}

Seeds safetensors() {
  const testing::TempFolder folder;
  TensorFile file;
  file.metadata = {{"format", "pt"}};
  file.tensors["a"] = Tensor::from<float>({1, 2}, {2, 1});
  file.tensors["b"] = Tensor::from<double>({1}, {});
  write_safetensors(folder / "file", file);
  return {
      {"whole", kWhole + testing::read_file(folder / "file")},
      {"empty", with_data("{}", 0)},
      {"floats", with_data("{" + entry("w", "F32", "[2,3]", "[0,24]") + "}", 24)},
      {"halves", with_data("{" + entry("h", "F16", "[2]", "[0,4]") + "," +
                               entry("b", "BF16", "[1,2]", "[4,8]") + "}",
                           8)},
      {"integers", with_data("{" + entry("i", "I64", "[1]", "[0,8]") + "," +
                                 entry("u", "U8", "[4]", "[8,12]") + "}",
                             12)},
      {"scalar-and-empty", with_data("{" + entry("s", "F32", "[]", "[0,4]") + "," +
                                         entry("e", "F64", "[0,4]", "[4,4]") + "}",
                                     4)},
      {"metadata", with_data(R"({"__metadata__":{"a":"b\u00e4\n"}})", 0)},
  };
}

// With one class the weights of LeNet-5 fit what two bytes can say.
Seeds model() {
  const testing::TempFolder folder;
  Seeds seeds;
  for (const char* name : {"lenet5", "lenet5_1998"}) {
    nn::Model model = models::build(name, {.classes = 1, .seed = 1});
    model.info.mean = {0.5};
    model.info.stddev = {0.25};
    model.info.classes = {"one"};
    save(model, folder / name);
    seeds[std::string(name) + "-checked"] = packed(folder / name);
    // Without the checksum, changes of the metadata reach what reads it.
    TensorFile file = read_safetensors(folder / name);
    file.metadata.erase("checksum");
    write_safetensors(folder / name, file);
    seeds[name] = packed(folder / name);
  }
  return seeds;
}

Seeds checkpoint() {
  const testing::TempFolder folder;
  Checkpointed run;
  save_checkpoint(folder / "plain", run.state());
  save_checkpoint(folder / "notes", run.state(), {{"epoch", "1"}, {"text", "a \"b\""}});
  return {{"plain", packed(folder / "plain")}, {"notes", packed(folder / "notes")}};
}

Seeds descriptor() {
  const std::vector<std::string> lines = {
      "mb16ic64ih56oc64oh56kh3ph1",   "g32mb2ic32ih14oc32kh5sh2ph2dh1",
      "mb1ic1iw9oc2ow7kw3",           "mb2ic3id5ih6iw7oc4kd3kh2kw1sd2pd1dd1",
      "ic4ih6oc8kh3+ph0:1+pw2:0+f64", "mb1_ic3_ih5_oc2_kh3_n\"a name\"",
  };
  Seeds seeds;
  for (std::size_t i = 0; i < lines.size(); ++i) seeds["line-" + std::to_string(i)] = lines[i];
  return seeds;
}

Seeds plan() {
  PlanFile file{.simd = "HERE", .processor = "a processor", .threads = 2, .entries = {}};
  Seeds seeds{{"empty", file.to_string()}};
  const auto add = [&](const char* descriptor, Pass pass, const char* algorithm, double seconds) {
    file.set({.problem = ConvProblem::parse(descriptor),
              .pass = pass,
              .algorithm = algorithm,
              .seconds = seconds});
  };
  add("mb16ic64ih56oc64kh3ph1", Pass::forward, "winograd", 1.5e-3);
  seeds["one"] = file.to_string();
  add("mb16ic64ih56oc64kh3ph1", Pass::backward_weights, "direct", 0);
  add("g32mb2ic32ih14oc32kh5sh2ph2dh1+reflect", Pass::forward, "depthwise", 2e-5);
  add("ic4ih6oc8kh3+ph0:1+constant:0.5+f64", Pass::backward_data, "im2col", 1);
  seeds["several"] = file.to_string();
  return seeds;
}

Seeds npy() {
  return {
      {"floats", npy_of("<f4", "(2, 3)", counting(24))},
      {"big", npy_of(">f8", "(2,)", counting(16))},
      {"halves", npy_of("<f2", "(3,)", counting(6))},
      {"bytes", npy_of("|u1", "(2, 2, 2)", counting(8))},
      {"fortran", npy_of("<i4", "(2, 2)", counting(16), true)},
      {"scalar", npy_of("<i8", "()", counting(8))},
      {"empty", npy_of("<f4", "(0, 5)", "")},
  };
}

Seeds npz() {
  const std::string array = npy_of("<f4", "(2, 3)", counting(24));
  return {
      {"stored", kWhole + zip_of({{"a.npy", array}, {"b.npy", array}})},
      {"deflated", kWhole + zip_of({{"a.npy", array}}, true)},
      {"array", "\x01" + array},
      {"packed", "\x02" + array},
  };
}

Seeds nifti() {
  const Nifti volume{.sizes = {2, 3, 2}, .voxels = counting(48)};
  const Nifti swapped{
      .sizes = {2, 2}, .type = 4, .voxels = counting(8), .big_endian = true, .slope = 2};
  return {
      {"plain", kWhole + nifti_of(volume)},
      {"swapped", kWhole + nifti_of(swapped)},
      {"packed", "\x01" + nifti_of(volume)},
      {"gzip", kWhole + gzip_of(nifti_of(swapped))},
  };
}

Seeds ts() {
  const std::string head = "@problemName P\n@timeStamps false\n@classLabel true a b\n@data\n";
  return {
      {"two-channels", "# comment\n" + head + "1,2,3:4,5,6:a\n1e3,-2,.5:0,0,0:b\n"},
      {"missing", head + "1,?,NaN:a\n"},
      {"unlabelled", "@classLabel false\n@data\n1,2\n"},
  };
}

Seeds csv() {
  return {
      {"header", "x,y,kind\n1,2,a\n3,4.5,b\n"},
      {"quoted", "\"a,b\";\"say \"\"hi\"\"\"\r\n\"two\nlines\";1\r\n"},
      {"tabs", "1\t2\n3\t4\n"},
  };
}

Seeds audio() {
  Seeds seeds = {
      {"wav", wav_of({0, 100, -100, 32767})},
      {"stereo", wav_of({1, 2, 3, 4}, 44100, 2)},
  };
#ifdef FOVEA_WITH_AUDIO
  const testing::TempFolder folder;
  const std::string path = folder / "a.flac";
  SF_INFO info{};
  info.samplerate = 8000;
  info.channels = 1;
  info.format = SF_FORMAT_FLAC | SF_FORMAT_PCM_16;
  const std::vector<short> samples(500, 7);
  SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
  sf_write_short(file, samples.data(), static_cast<sf_count_t>(samples.size()));
  sf_close(file);
  seeds["flac"] = testing::read_file(path);
#endif
  return seeds;
}

Seeds jpeg() {
  Seeds seeds;
#ifdef FOVEA_WITH_JPEG
  const auto pixel = [](int y, int x, int c) { return 10 * y + 5 * x + 40 * c; };
  using testing::jpeg_of;
  seeds["grey"] = jpeg_of({.channels = 1}, pixel);
  seeds["colour"] = jpeg_of({.width = 17, .height = 9}, pixel);
  seeds["progressive"] = jpeg_of({.width = 9, .progressive = true, .quality = 50}, pixel);
  seeds["inks"] = jpeg_of({.channels = 4}, pixel);
#endif
  return seeds;
}

struct Target {
  const char* name;
  Seeds (*seeds)();
};
constexpr Target kTargets[] = {
    {"audio", audio}, {"checkpoint", checkpoint},
    {"csv", csv},     {"descriptor", descriptor},
    {"gzip", gzip},   {"idx", idx},
    {"jpeg", jpeg},   {"model", model},
    {"nifti", nifti}, {"npy", npy},
    {"npz", npz},     {"plan", plan},
    {"png", png},     {"safetensors", safetensors},
    {"ts", ts},
};

void write_all(const std::string& corpus) {
  for (const Target& target : kTargets) {
    const std::string folder = corpus + "/" + target.name;
    std::filesystem::create_directories(folder);
    for (const auto& [name, bytes] : target.seeds())
      testing::write_file(folder + "/" + name, bytes);
  }
}

}  // namespace
}  // namespace fovea::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  fovea::fuzz::write_all(argv[1]);
}
