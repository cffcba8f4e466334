package main

import (
	"errors"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plot draws the throughput of every tier as bars, as SVG and PNG.
func (r report) plot(file string) error {
	p := plot.New()
	p.Title.Text = "Answers a second, by how much of Latchkey is around the HSM"
	p.X.Min = 0
	p.X.Label.Text = "answers a second"
	var values plotter.Values
	var names []string
	for i := len(r.Tiers) - 1; i >= 0; i-- {
		values, names = append(values, r.Tiers[i].PerSecond), append(names, r.Tiers[i].Name)
	}
	bars, err := plotter.NewBarChart(values, vg.Points(14))
	if err != nil {
		return err
	}
	bars.Horizontal = true
	bars.Color = color.RGBA{R: 0x2B, G: 0x5C, B: 0x8A, A: 0xFF}
	bars.LineStyle.Width = 0
	p.Add(bars)
	p.NominalY(names...)
	const width = 18 * vg.Centimeter
	height := vg.Points(26 * float64(len(values)+3))
	return errors.Join(p.Save(width, height, file+".svg"), p.Save(width, height, file+".png"))
}
