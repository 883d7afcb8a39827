"""The page about a run, `report.html`, and the arrays that it draws."""
from pretrain.report.data import save_report_data as save_report_data
from pretrain.report.page import report as report
