// SPDX-License-Identifier: Apache-2.0

package label

import (
	"context"
	"image"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"golang.org/x/image/draw"
)

const (
	// minSide is the side in pixels below which there is nothing to read.
	minSide = 21
	// maxCandidates bounds the places that look like a symbol's corner. The
	// recogniser compares them three by three, so a hostile image of ten
	// thousand corners would keep it busy for hours.
	maxCandidates = 400
)

// scales are the factors tried one after the other; each helps with something:
// enlarging with modules of few pixels, reducing with noise and blur.
var scales = []float64{1, 0.5, 2, 0.75, 1.5, 3, 0.35, 4}

// attempt is one way of looking at an image.
type attempt struct {
	hybrid bool // local threshold, good for shadow; else one for the whole image
	pure   bool // expect an upright symbol and nothing else
	invert bool // white on black
}

var attempts = []attempt{
	{hybrid: true},
	{},
	{pure: true},
	{hybrid: true, invert: true},
	{invert: true},
	{pure: true, invert: true},
}

// read tries all attempts at all scales and returns the first text found.
func read(ctx context.Context, img *image.Gray) (string, error) {
	for _, f := range scales {
		scaled := scale(img, f)
		if scaled == nil {
			continue
		}
		for _, a := range attempts {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			if text, ok := a.read(ctx, scaled); ok {
				return text, nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return "", ErrNoSymbol
}

// scale returns img scaled by f, or nil if that is too small or too large.
func scale(img *image.Gray, f float64) *image.Gray {
	w, h := int(float64(img.Rect.Dx())*f), int(float64(img.Rect.Dy())*f)
	if w < minSide || h < minSide || w*h > workPixels {
		return nil
	}
	if f == 1 {
		return img
	}
	// The scaler has a fast path for this pair of types only.
	colour := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.ApproxBiLinear.Scale(colour, colour.Rect, img, img.Rect, draw.Src, nil)
	out := image.NewGray(colour.Rect)
	for i := range out.Pix {
		out.Pix[i] = colour.Pix[4*i]
	}
	return out
}

// read makes one attempt. The recogniser cannot be interrupted, nor is it
// proof against every image; so it is left by a panic when ctx is done or
// corners abound, and any panic of its own counts as nothing found.
func (a attempt) read(ctx context.Context, img *image.Gray) (text string, ok bool) {
	defer func() {
		if recover() != nil {
			text, ok = "", false
		}
	}()
	w, h := img.Rect.Dx(), img.Rect.Dy()
	source, err := gozxing.NewPlanarYUVLuminanceSource(img.Pix, w, h, 0, 0, w, h, false)
	if err != nil {
		return "", false
	}
	if a.invert {
		source = source.Invert()
	}
	binarizer := gozxing.NewGlobalHistgramBinarizer(source)
	if a.hybrid {
		binarizer = gozxing.NewHybridBinarizer(source)
	}
	bitmap, err := gozxing.NewBinaryBitmap(binarizer)
	if err != nil {
		return "", false
	}
	candidates := 0
	hints := map[gozxing.DecodeHintType]any{
		gozxing.DecodeHintType_TRY_HARDER: true,
		gozxing.DecodeHintType_NEED_RESULT_POINT_CALLBACK: gozxing.ResultPointCallback(func(gozxing.ResultPoint) {
			if candidates++; candidates > maxCandidates || ctx.Err() != nil {
				panic("give up")
			}
		}),
	}
	if a.pure {
		hints[gozxing.DecodeHintType_PURE_BARCODE] = true
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, hints)
	if err != nil {
		return "", false
	}
	return result.GetText(), result.GetText() != ""
}
