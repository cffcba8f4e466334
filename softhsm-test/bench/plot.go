package main

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
)

const width = 18 * vg.Centimeter

// draw shows the throughput of every tier as bars.
func (t throughput) draw() (*drawing, error) {
	p := plot.New()
	p.Title.Text = "Answers a second, by how much of Latchkey is around the HSM"
	p.X.Min = 0
	p.X.Label.Text = "answers a second"
	var values plotter.Values
	var names []string
	for i := len(t.Tiers) - 1; i >= 0; i-- {
		values, names = append(values, t.Tiers[i].PerSecond), append(names, t.Tiers[i].Name)
	}
	bars, err := plotter.NewBarChart(values, vg.Points(14))
	if err != nil {
		return nil, err
	}
	bars.Horizontal = true
	bars.Color = color.RGBA{R: 0x2B, G: 0x5C, B: 0x8A, A: 0xFF}
	bars.LineStyle.Width = 0
	p.Add(bars)
	p.NominalY(names...)
	return &drawing{p, width, vg.Points(26 * float64(len(values)+3))}, nil
}

// line is one of a plot's lines.
type line struct {
	name   string
	points plotter.XYs
}

// lines draws lines with their points. Where x is given by doubling or by tens, it is
// shown in a logarithmic scale, with ticks at the points of the first line.
func lines(title, x, y string, logarithmic bool, list ...line) (*drawing, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	var all []any
	for _, l := range list {
		all = append(all, l.name, l.points)
	}
	if err := plotutil.AddLinePoints(p, all...); err != nil {
		return nil, err
	}
	p.Y.Max *= 1.25 // room for the legend
	if logarithmic {
		p.X.Scale = plot.LogScale{}
		var ticks []plot.Tick
		for _, point := range list[0].points {
			ticks = append(ticks, plot.Tick{Value: point.X, Label: fmt.Sprintf("%.0f", point.X)})
		}
		p.X.Tick.Marker = plot.ConstantTicks(ticks)
	}
	return &drawing{p, width, 10 * vg.Centimeter}, nil
}
