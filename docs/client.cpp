// A client of kdlnet in C++: an export to OpenVINO and a PGM or PPM image (8 bits) in, boxes out.
// It follows docs/contract.md, whose steps the comments name; it knows neither tiles nor rules by
// class. With the headers and libraries of the Python package openvino:
//   OV=$(python -c 'import openvino, os; print(os.path.dirname(openvino.__file__))')
//   g++ -O2 -std=c++17 client.cpp -I $OV/include $OV/libs/libopenvino.so.* -Wl,-rpath,$OV/libs -o client
//   ./client best.xml part.ppm
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using Floats = std::vector<float>;

struct Image { int height, width, channels; std::vector<uint8_t> pixels; };  // rows of pixels, channels side by side, RGB
struct Box { double x1, y1, x2, y2; float score; int label; };
struct Contract { int height, width, channels; double low, high, pad, score, lower; };  // what the header of the file says

Image read_pnm(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string kind;
    int width = 0, height = 0, most = 0;
    file >> kind >> width >> height >> most;
    file.get();
    if ((kind != "P5" && kind != "P6") || most != 255) throw std::runtime_error(path + ": give a PGM or PPM of 8 bits");
    Image image{height, width, kind == "P6" ? 3 : 1, {}};
    image.pixels.resize(size_t(height) * width * image.channels);
    if (!file.read(reinterpret_cast<char*>(image.pixels.data()), image.pixels.size())) throw std::runtime_error(path + " is cut off");
    return image;
}

// The number, or the list of numbers, behind `"key":`.
std::vector<double> numbers(const std::string& json, const std::string& key) {
    size_t at = json.find("\"" + key + "\":");
    if (at == std::string::npos) return {};
    at = json.find_first_of("[-0123456789", at + key.size() + 3);
    const size_t end = json[at] == '[' ? json.find(']', at) : json.find_first_of(",}", at);
    std::vector<double> found;
    while (at < end) {
        at = json.find_first_of("-0123456789", at);
        if (at >= end) break;
        size_t length = 0;
        found.push_back(std::stod(json.substr(at), &length));
        at += length;
    }
    return found;
}

Contract read_contract(const std::string& json) {
    if (numbers(json, "format") != std::vector<double>{1} || json.find("\"outputs\": \"points\"") == std::string::npos) throw std::runtime_error("this client knows format 1 (whole images) with the outputs of each point: export without --raw and --nms");
    const std::string seen = json.substr(json.find("\"preprocess\":"));
    size_t from = json.find("\"thresholds\":");
    const std::string rule = json.substr(from, json.find('}', from) - from + 1);
    if (rule.find("\"classes\"") != std::string::npos || rule.find("\"min_") != std::string::npos) throw std::runtime_error("this client knows rules of scores for all classes only");
    if (seen.find("\"tiling\": null") == std::string::npos) throw std::runtime_error("this client knows no tiles");
    const auto size = numbers(seen, "image_size"), window = numbers(seen, "window");
    const auto score = numbers(rule, "score"), unsure = numbers(rule, "unsure");
    Contract contract{int(size[0]), int(size[1]), int(numbers(seen, "channels")[0]), window[0], window[1], numbers(seen, "pad")[0], 0.25, 0.25};
    if (!score.empty()) contract.score = contract.lower = score[0];
    if (!unsure.empty()) contract.lower = unsure[0];
    return contract;
}

// Shares of the source's pixels in each pixel of a row or column: an area when it shrinks, else the two nearest centres, in 2048ths.
std::vector<std::vector<std::pair<int, double>>> shares(int from, int to, bool shrinks, bool columns) {
    std::vector<std::vector<std::pair<int, double>>> rows(to);
    for (int i = 0; i < to; ++i) {
        if (shrinks) {
            const double begin = double(i) * from / to, end = std::min<double>((i + 1.0) * from / to, from);
            for (int k = int(begin); k < end; ++k) rows[i].push_back({k, (std::min(end, k + 1.0) - std::max<double>(begin, k)) / (end - begin)});
        } else {
            const float centre = float((i + 0.5) * (1 / (double(to) / from)) - 0.5);
            const int k = int(std::floor(centre));
            const float share = columns && (k < 0 || k >= from - 1) ? 0 : centre - k;
            rows[i] = {{std::clamp(k, 0, from - 1), std::nearbyint((1 - share) * 2048)}, {std::clamp(k + 1, 0, from - 1), std::nearbyint(share * 2048)}};
        }
    }
    return rows;
}

// As OpenCV: what is enlarged to the bit, with the digits it cuts off; areas but for 1 in few pixels.
Image resize(const Image& image, int height, int width) {
    if (image.height == height && image.width == width) return image;
    const bool shrinks = height < image.height || width < image.width;
    const auto rows = shares(image.height, height, shrinks, false), columns = shares(image.width, width, shrinks, true);
    const double halves = image.height == 2 * height && image.width == 2 * width ? 0.1 : 0;  // of these it rounds up
    Image out{height, width, image.channels, {}};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width * image.channels; ++x) {
            double sum = halves, fixed = 2;
            for (auto [sy, wy] : rows[y]) {
                double along = 0;
                for (auto [sx, wx] : columns[x / image.channels]) along += wx * image.pixels[(size_t(sy) * image.width + sx) * image.channels + x % image.channels];
                sum += wy * along;
                fixed += (int(along) >> 4) * int(wy) >> 16;
            }
            out.pixels.push_back(shrinks ? uint8_t(std::nearbyint(sum)) : uint8_t(int(fixed) >> 2));
        }
    return out;
}

Image grey(const Image& image) {
    Image out{image.height, image.width, 1, std::vector<uint8_t>(size_t(image.height) * image.width)};
    for (size_t i = 0; i < out.pixels.size(); ++i)
        out.pixels[i] = uint8_t(std::nearbyint(0.299 * image.pixels[3 * i] + 0.587 * image.pixels[3 * i + 1] + 0.114 * image.pixels[3 * i + 2]));
    return out;
}

double overlap(const Box& a, const Box& b) {
    const double w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1), h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    const double inner = std::max(w, 0.0) * std::max(h, 0.0);
    return inner <= 0 ? 0 : inner / ((a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - inner);
}

// Contract, 4: candidates, the best of them, suppression within a class, the vote.
std::vector<Box> select(const float* logits, const float* boxes, int points, int classes, const Contract& to) {
    const double iou = 0.55, voters = 0.2;
    std::vector<Box> found, kept, agreed;
    for (int a = 0; a < points; ++a)
        for (int c = 0; c < classes; ++c) {
            const float score = 1 / (1 + std::exp(-logits[a * classes + c]));
            if (score < voters * to.lower) continue;
            const float* b = boxes + 4 * a;
            found.push_back({std::clamp<double>(b[0], 0, to.width), std::clamp<double>(b[1], 0, to.height), std::clamp<double>(b[2], 0, to.width), std::clamp<double>(b[3], 0, to.height), score, c});
        }
    std::stable_sort(found.begin(), found.end(), [](const Box& a, const Box& b) { return a.score > b.score; });
    if (found.size() > 1000) found.resize(1000);
    for (const Box& box : found) {
        if (box.score < float(to.lower) || kept.size() == 300) break;
        if (std::none_of(kept.begin(), kept.end(), [&](const Box& other) { return other.label == box.label && overlap(other, box) > iou; })) kept.push_back(box);
    }
    for (const Box& box : kept) {
        double x1 = 0, y1 = 0, x2 = 0, y2 = 0, sum = 0;
        for (const Box& voter : found) {
            const double weight = voter.label == box.label ? std::max(overlap(box, voter) - iou, 0.0) * std::max(voter.score - voters * box.score, 0.0) : 0;
            x1 += weight * voter.x1, y1 += weight * voter.y1, x2 += weight * voter.x2, y2 += weight * voter.y2, sum += weight;
        }
        agreed.push_back(sum > 0 ? Box{x1 / sum, y1 / sum, x2 / sum, y2 / sum, box.score, box.label} : box);
    }
    return agreed;
}

int main(int count, char** arguments) try {
    if (count != 3) throw std::runtime_error("usage: client MODEL.xml IMAGE.ppm");
    ov::Core core;
    auto model = core.read_model(arguments[1]);
    if (!model->has_rt_info("kdlnet")) throw std::runtime_error(std::string(arguments[1]) + " is no export of kdlnet");
    const Contract contract = read_contract(model->get_rt_info<std::string>("kdlnet"));
    model->reshape(ov::PartialShape{1, contract.channels, contract.height, contract.width});
    auto request = core.compile_model(model, "CPU", ov::hint::inference_precision(ov::element::f32)).create_infer_request();
    const Image image = read_pnm(arguments[2]);

    // Contract, 2: letterbox. Sides are rounded half to even.
    const double scale = std::min(double(contract.height) / image.height, double(contract.width) / image.width);
    const int height = std::clamp<int>(int(std::nearbyint(image.height * scale)), 1, contract.height);
    const int width = std::clamp<int>(int(std::nearbyint(image.width * scale)), 1, contract.width);
    const int top = (contract.height - height) / 2, left = (contract.width - width) / 2;
    Image small = resize(image, height, width);
    if (contract.channels == 1 && small.channels == 3) small = grey(small);

    // Contract, 3: planes of float32, the window mapped to [0, 1]; grey is repeated.
    const double fill = std::clamp(std::nearbyint(contract.low + contract.pad * (contract.high - contract.low)), 0.0, 255.0);
    ov::Tensor input(ov::element::f32, {1, size_t(contract.channels), size_t(contract.height), size_t(contract.width)});
    float* planes = input.data<float>();
    for (int c = 0; c < contract.channels; ++c)
        for (int y = 0; y < contract.height; ++y)
            for (int x = 0; x < contract.width; ++x) {
                const int row = y - top, column = x - left;
                const bool inside = row >= 0 && row < height && column >= 0 && column < width;
                const double value = inside ? small.pixels[(size_t(row) * width + column) * small.channels + c % small.channels] : fill;
                *planes++ = float(std::clamp((value - contract.low) / (contract.high - contract.low), 0.0, 1.0));
            }
    request.set_tensor("images", input);
    request.infer();
    const ov::Tensor logits = request.get_tensor("logits"), boxes = request.get_tensor("boxes");
    const auto shape = logits.get_shape();
    for (const ov::Tensor& answer : {logits, boxes})  // Contract, 4: what is not a number is no verdict
        if (std::any_of(answer.data<float>(), answer.data<float>() + answer.get_size(), [](float number) { return std::isnan(number); })) throw std::runtime_error("the network answered with NaN, so there is no verdict");

    // Contract, 5: back to the original image; 6: the verdict.
    int worst = 0;
    const double sx = double(width) / image.width, sy = double(height) / image.height;
    for (const Box& box : select(logits.data<float>(), boxes.data<float>(), int(shape[1]), int(shape[2]), contract)) {
        const double x1 = std::clamp<double>((box.x1 - left) / sx, 0, image.width), x2 = std::clamp<double>((box.x2 - left) / sx, 0, image.width);
        const double y1 = std::clamp<double>((box.y1 - top) / sy, 0, image.height), y2 = std::clamp<double>((box.y2 - top) / sy, 0, image.height);
        if (x2 <= x1 || y2 <= y1) continue;
        worst = std::max(worst, box.score >= float(contract.score) ? 2 : 1);
        std::printf("%d %.5f %.3f %.3f %.3f %.3f\n", box.label, box.score, x1, y1, x2, y2);
    }
    std::printf("%s\n", worst == 2 ? "NG" : worst == 1 ? "UNSURE" : "OK");
    return 0;
} catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
}
