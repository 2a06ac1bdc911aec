"""The measures of DCASE 2026 task 6, written anew from the description of its evaluator, in plain Python.

It takes, for each query, the answers (begin, end) best first and the moments. R1 at t: the first answer has an IoU of t or
more with a moment. Average precision at t as in PASCAL VOC 2011: answers in order, each matched to the free moment of
the highest IoU that is t or more; precision interpolated from the right, summed over the steps of recall.
"""

THRESHOLDS = [round(0.5 + 0.05 * step, 2) for step in range(10)]


def overlap(a, b):
    common = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return common / (max(a[1], b[1]) - min(a[0], b[0])) if common else 0.0


def first(answers, moments, threshold):
    return float(max(overlap(answers[0], moment) for moment in moments) >= threshold)


def average_precision(answers, moments, threshold):
    taken, right = set(), []
    for answer in answers[:10]:
        ranked = sorted(range(len(moments)), key=lambda g: -overlap(answer, moments[g]))
        chosen = next((g for g in ranked if g not in taken and overlap(answer, moments[g]) >= threshold), None)
        right.append(chosen is not None)
        taken |= {chosen} - {None}
    recall, precision = [0.0], [0.0]
    for place in range(1, len(right) + 1):
        recall.append(sum(right[:place]) / len(moments))
        precision.append(sum(right[:place]) / place)
    recall.append(1.0)
    precision.append(0.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)) if recall[i] != recall[i - 1])
