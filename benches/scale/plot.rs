//! Curves as SVG, each in a frame of its own that begins at zero.

use std::fmt::Write;

/// A name, and where the curve goes.
pub struct Curve {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 150.0;
const MARGIN: f64 = 40.0;
const COLUMNS: usize = 3;

/// All curves, under a title.
pub fn draw(title: &str, curves: &[Curve]) -> String {
    let rows = curves.len().div_ceil(COLUMNS) as f64;
    let (width, height) = (COLUMNS as f64 * WIDTH, 30.0 + rows * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>\n"
    );
    for (number, curve) in curves.iter().enumerate() {
        let x = (number % COLUMNS) as f64 * WIDTH;
        let y = 30.0 + (number / COLUMNS) as f64 * HEIGHT;
        frame(&mut svg, curve, (x, y));
    }
    svg + "</svg>\n"
}

fn frame(svg: &mut String, curve: &Curve, (x, y): (f64, f64)) {
    let most = |of: fn(&(f64, f64)) -> f64| curve.points.iter().map(of).fold(f64::MIN, f64::max);
    let (right, top) = (most(|point| point.0), most(|point| point.1) * 1.1);
    let (left, bottom) = (x + MARGIN, y + HEIGHT - MARGIN);
    let (wide, high) = (WIDTH - 1.5 * MARGIN, HEIGHT - 1.7 * MARGIN);
    let place = |&(h, v): &(f64, f64)| (left + h / right * wide, bottom - v / top * high);
    let points: Vec<_> = curve.points.iter().map(place).collect();
    let line: Vec<_> = points.iter().map(|(h, v)| format!("{h:.1},{v:.1}")).collect();
    let last = curve.points.last().copied().unwrap_or_default();
    let mut put = |text: String| writeln!(svg, "{text}").expect("a string takes all");
    put(format!("<text x=\"{left}\" y=\"{:.1}\">{}</text>", y + 18.0, curve.name));
    put(format!(
        "<path d=\"M{left} {:.1}V{bottom}h{wide}\" fill=\"none\" stroke=\"grey\"/>",
        bottom - high
    ));
    put(format!(
        "<polyline points=\"{}\" fill=\"none\" stroke=\"steelblue\" stroke-width=\"2\"/>",
        line.join(" ")
    ));
    for (h, v) in points {
        put(format!("<circle cx=\"{h:.1}\" cy=\"{v:.1}\" r=\"2\" fill=\"steelblue\"/>"));
    }
    put(format!("<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", left, bottom + 12.0, 0));
    put(format!(
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} objects: {:.1}</text>",
        left + wide,
        bottom + 12.0,
        last.0,
        last.1
    ));
}
