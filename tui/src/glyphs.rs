//! Box-drawing characters by the weight of their strokes, for the graph and for pictures.

/// Strokes up, right, down, left: 0 none, 1 light, 2 heavy. The character for four weights stands
/// at the place that they spell in base 3.
pub(crate) const BOX: &str =
    " ╴╸╷┐┑╻┒┓╶─╾┌┬┭┎┰┱╺╼━┍┮┯┏┲┳╵┘┙│┤┥╽┧┪└┴┵├┼┽┟╁╅┕┶┷┝┾┿┢╆╈╹┚┛╿┦┩┃┨┫┖┸┹┞╀╃┠╂╉┗┺┻┡╄╇┣╊╋";
