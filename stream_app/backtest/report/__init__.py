"""The report of a backtest: one self-contained page that opens offline."""

from stream_app.backtest.report.data import DeadLetterSample, ExampleCustomer, ReportData
from stream_app.backtest.report.page import render_report, write_report

__all__ = ["DeadLetterSample", "ExampleCustomer", "ReportData", "render_report", "write_report"]
