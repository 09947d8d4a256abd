// Words for the keys of generated needles: none of them tells what its value is.
#pragma once

namespace ilre::cli {

inline constexpr const char* kEvalAdjectives[] = {
    "able",    "ancient", "amber",   "angry",   "basic",  "bitter",  "blue",   "brave",  "brief",  "bright", "broad",
    "bronze",  "calm",    "careful", "cheap",   "chief",  "clean",   "clever", "cloudy", "cold",   "common", "cool",
    "crimson", "curly",   "damp",    "dark",    "dear",   "deep",    "dense",  "double", "dry",    "dusty",  "eager",
    "early",   "easy",    "elder",   "empty",   "even",   "faint",   "fair",   "famous", "fancy",  "fast",   "fierce",
    "final",   "fine",    "firm",    "flat",    "fluffy", "foggy",   "formal", "fresh",  "frozen", "full",   "gentle",
    "giant",   "gifted",  "glad",    "golden",  "grand",  "gray",    "green",  "grim",   "happy",  "hard",   "heavy",
    "hidden",  "high",    "hollow",  "honest",  "huge",   "humble",  "icy",    "ideal",  "inner",  "iron",   "jolly",
    "keen",    "kind",    "large",   "late",    "lazy",   "light",   "little", "lonely", "long",   "loud",   "lovely",
    "lucky",   "mellow",  "merry",   "mild",    "misty",  "modern",  "narrow", "neat",   "new",    "noble",  "noisy",
    "odd",     "old",     "orange",  "outer",   "pale",   "patient", "plain",  "polite", "proud",  "purple", "quick",
    "quiet",   "rapid",   "rare",    "raw",     "red",    "rich",    "ripe",   "rough",  "round",  "royal",  "rural",
    "rusty",   "sad",     "salty",   "scarlet", "secret", "sharp",   "shiny",  "short",  "shy",    "silent", "silky",
    "silver",  "simple",  "slim",    "slow",    "small",  "smart",   "smooth", "soft",   "solid",  "sour",   "square",
    "steady",  "steep",   "stormy",  "strange", "strong", "sudden",  "sunny",  "super",  "sweet",  "swift",  "tall",
    "tame",    "tasty",   "tender",  "thick",   "thin",   "tidy",    "tiny",   "tough",  "urban",  "vague",  "vast",
    "violet",  "vivid",   "warm",    "weary",   "white",  "whole",   "wide",   "wild",   "wise",   "witty",  "wooden",
    "yellow",  "young",   "zealous"};

inline constexpr const char* kEvalNouns[] = {
    "acorn",    "actor",    "anchor", "ankle",   "apple",    "apron",     "arrow",    "badge",   "bagel",  "bakery",
    "balloon",  "banana",   "banjo",  "barrel",  "basket",   "beach",     "bear",     "bell",    "bench",  "bicycle",
    "bird",     "blanket",  "boat",   "bottle",  "bracelet", "branch",    "bread",    "brick",   "bridge", "broom",
    "brush",    "bucket",   "butter", "button",  "cabin",    "cactus",    "cake",     "camel",   "camera", "candle",
    "canoe",    "canyon",   "carpet", "carrot",  "castle",   "cathedral", "cave",     "ceiling", "chair",  "cherry",
    "chess",    "chimney",  "circle", "clock",   "cloud",    "coat",      "coffee",   "comet",   "cookie", "copper",
    "corner",   "cottage",  "cotton", "cradle",  "crane",    "crayon",    "cricket",  "crown",   "cup",    "curtain",
    "dancer",   "desert",   "desk",   "diamond", "doctor",   "dolphin",   "donkey",   "door",    "dragon", "drawer",
    "drum",     "eagle",    "elbow",  "engine",  "fabric",   "falcon",    "farmer",   "feather", "fence",  "ferry",
    "fiddle",   "field",    "flag",   "flame",   "flute",    "forest",    "fountain", "fox",     "garage", "garden",
    "garlic",   "gate",     "ghost",  "giraffe", "glacier",  "glove",     "goose",    "guitar",  "hammer", "harbor",
    "hat",      "hawk",     "hazel",  "helmet",  "hill",     "honey",     "horn",     "horse",   "hotel",  "island",
    "jacket",   "jewel",    "juice",  "jungle",  "kettle",   "key",       "kite",     "kitten",  "ladder", "lake",
    "lamp",     "lantern",  "lawyer", "leaf",    "lemon",    "letter",    "library",  "lion",    "lizard", "locket",
    "magnet",   "mango",    "map",    "maple",   "market",   "meadow",    "melon",    "mirror",  "mitten", "monkey",
    "moon",     "mountain", "mouse",  "museum",  "needle",   "nest",      "notebook", "ocean",   "olive",  "onion",
    "orchard",  "otter",    "oven",   "owl",     "paddle",   "painter",   "palace",   "panda",   "paper",  "parade",
    "parrot",   "pasta",    "peach",  "pencil",  "pepper",   "piano",     "pillow",   "pilot",   "planet", "plaza",
    "pocket",   "pond",     "poppy",  "potato",  "prairie",  "pumpkin",   "puppy",    "puzzle",  "rabbit", "radio",
    "raft",     "railway",  "rain",   "raven",   "ribbon",   "river",     "robin",    "rocket",  "roof",   "rope",
    "rose",     "saddle",   "sailor", "salad",   "sandal",   "saddlebag", "scarf",    "school",  "seal",   "shadow",
    "shark",    "sheep",    "shelf",  "ship",    "shore",    "shovel",    "singer",   "sister",  "skirt",  "sled",
    "snail",    "snow",     "spider", "spoon",   "spring",   "stable",    "star",     "statue",  "stone",  "stork",
    "storm",    "stove",    "summer", "swan",    "sweater",  "table",     "tailor",   "teapot",  "temple", "tent",
    "thunder",  "ticket",   "tiger",  "tomato",  "tower",    "train",     "trumpet",  "tulip",   "tunnel", "turtle",
    "umbrella", "valley",   "vase",   "velvet",  "village",  "violin",    "wagon",    "walnut",  "water",  "whale",
    "wheel",    "willow",   "window", "winter",  "wolf",     "wood",      "wool",     "yacht",   "zebra"};

}  // namespace ilre::cli
