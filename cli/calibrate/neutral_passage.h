// The passage that stands before every question in place of a document, unless another is given. Written for this
// project; about plain things, so that no question is about it.
#pragma once

namespace ilre::cli {

inline constexpr char kNeutralPassage[] =
    "The reading room of the town library opens at nine in the morning and closes at six in the evening. Long "
    "tables stand between the shelves, and most visitors sit there in silence with a book, a newspaper or a "
    "laptop. Near the entrance a small desk is kept free for people who come with a question. Some of them want "
    "to know when a bridge was built, who wrote a certain song, how many people live in the valley, or where an "
    "old map can be found. Others ask what a word means, why a law was changed, or which of two dates is the "
    "right one. The librarian listens, writes a few words on a slip of paper and walks to the shelves. It rarely "
    "takes more than a few minutes until a page is found that says what was asked for.\n\n"
    "Not every question is easy. Names are spelled in several ways, numbers are copied with mistakes, and a story"
    " that is told in one book is told differently in another. For this reason the librarian always shows the "
    "place itself: the sentence, the table or the line of a list, together with what stands before and after it. "
    "The visitor can then judge whether it is an answer. Often the wording of the question and the wording of the"
    " page have little in common, and the skill lies in seeing that they speak of the same thing.\n\n"
    "In winter the room is heated early, and the windows are fogged until noon. In summer the doors stand open "
    "and the noise of the market can be heard. Once a year everything is counted: the books, the journals, the "
    "maps, the photographs and the boxes of letters, and a short report is sent to the council. It names what was"
    " bought, what was lost and what was repaired, and it ends with a list of the questions that nobody could "
    "answer.";

}  // namespace ilre::cli
